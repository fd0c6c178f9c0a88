"""`make e2e`: the real Open WebUI, under load, through everything; see docs/testing.md.

Ends with 1 when anything that was acknowledged before an instant is missing afterwards, or anything later is there.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e import page, scenes
from tests.e2e.container import ContainerSite, container_site
from tests.e2e.installation import VERSION, installed
from tests.e2e.scenes import Story, say
from tests.e2e.site import ENGINES, ProcessSite, Site, process_site

STEPS = ("snapshots", "restores", "bare", "replace", "rollback")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.e2e")
    parser.add_argument("--variant", choices=("process", "container"), default="process")
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=list(STEPS))
    parser.add_argument("--folder", type=Path, help="where to work; kept (else temporary, removed when all is well)")
    parser.add_argument("--write", type=Path, help="the page whose section is written anew: docs/reliability.md")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended, too
    installed()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="owui-vault-e2e-"))
    folder.mkdir(parents=True, exist_ok=True)
    say(f"works in {folder}")
    began = time.monotonic()
    with (container_site if arguments.variant == "container" else process_site)(folder) as here:
        here.ours("live", "init")
        watch(here)
        story = tell(here, set(arguments.steps))
    problems = story.problems()
    text = page.section(arguments.variant, story, time.monotonic() - began)
    print(text)
    for problem in problems:
        print(f"PROBLEM: {problem}")
    if arguments.write and not problems:
        page.write(arguments.write, arguments.variant, text)
    if not problems and not arguments.folder:
        shutil.rmtree(folder)
    return 1 if problems else 0


def tell(here: Site, steps: set[str]) -> Story:
    """Snapshots, copies of them elsewhere, and back in place."""
    story = Story()
    rows = container_snapshots(here) if isinstance(here, ContainerSite) else process_snapshots(here)
    for what, profile, snap in rows if "snapshots" in steps else rows[:1]:
        story.taken.append(scenes.under_load(here, what, profile, snap))
    here.live.stop()
    end = time.time()
    with here.live_is_gone():
        for row in story.taken if "restores" in steps else []:
            story.found += [scenes.restored_elsewhere(here, row, engine) for engine in ENGINES]
        for engine in ENGINES if "bare" in steps else []:
            story.found.append(scenes.restored_bare(here, story.taken[0], engine))
    if "replace" in steps or "rollback" in steps:
        here.live.start()
    if "replace" in steps:
        story.found += scenes.in_place(here, story.taken[len(story.taken) // 2], end)
    if "rollback" in steps:
        story.found.append(scenes.rolled_back(here, end))
    return story


Rows = list[tuple[str, str, Callable[[], dict[str, Any]]]]


def process_snapshots(here: Site) -> Rows:
    """What is taken, under which load, and how."""
    assert isinstance(here, ProcessSite)
    return [
        ("live, people at work", "people", scenes.by_program(here, "live", "live")),
        ("auto, documents without a pause", "ingestion", scenes.by_program(here, "process", "auto")),
        ("pause, documents without a pause", "ingestion", scenes.by_program(here, "process", "pause")),
        ("stop, people at work", "people", lambda: scenes.by_library(here)),
    ]


def container_snapshots(here: Site) -> Rows:
    """The same on a container, which can be stopped and started by everybody."""
    return [
        ("live, people at work", "people", scenes.by_program(here, "live", "live")),
        ("auto, documents without a pause", "ingestion", scenes.by_program(here, "live", "auto")),
        ("pause, documents without a pause", "ingestion", scenes.by_program(here, "live", "pause")),
        ("stop, people at work", "people", scenes.by_program(here, "live", "stop")),
    ]


def watch(here: Site) -> None:
    """What `inspect` says of the running application, without a word of help."""
    seen = here.ours("live", "inspect")
    say(f"inspect: {seen['application_version']}, processes {seen['processes']}, key {seen['secret_key']['source']}")
    say(f"inspect: modes {seen['modes']}, warnings {seen['warnings']}")
    assert seen["application_version"] == VERSION, seen
    assert seen["running"], seen
    assert seen["secret_key"]["found"], seen
    if isinstance(here, ProcessSite):
        assert seen["processes"] == [here.server.pid()], seen
        assert seen["warnings"] == [], seen


if __name__ == "__main__":
    sys.exit(main())
