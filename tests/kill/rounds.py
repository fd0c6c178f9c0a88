"""One round: start a snapshot, kill it at a random moment, hold every promise against what is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from owui_vault.testing.children import descendants
from tests.kill.site import Site, counts

BACK_SECONDS = 2.0
GONE_SECONDS = 20.0


class Style(Enum):
    """What SIGKILL hits."""

    PROGRAM = "the program"
    ALL_BUT_GUARDIAN = "the program and its children"
    EVERYTHING = "the guardian too"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What was done and how it ended."""

    engine: str
    style: Style
    quiesce: str
    busy: bool
    delay_seconds: float  # since the start, or since the capture began
    said: str  # the last line before the kill
    back_seconds: float  # until the instance ran again
    checked: int  # snapshots that were listed as complete, restored and compared


class Killer:
    """Kills one site again and again. Each assertion is a promise."""

    def __init__(self, site: Site, generator: random.Random, *, busy: bool) -> None:
        self.site, self.generator, self.busy = site, generator, busy
        self.checked: set[str] = set()
        begun = time.monotonic()
        site.succeed("snapshot", "--quiesce", "pause")
        self.undisturbed_seconds = time.monotonic() - begun

    def round(self) -> Round:
        before = self.site.stamps(busy=self.busy)
        style = self.generator.choice(list(Style))
        quiesce = self.generator.choice(["auto", "live", "pause", "pause"])
        said = None
        while said is None:
            # Half of them anywhere, half from when the capture begins: start-up is most of the time, and the dull part.
            after = self.generator.choice(["", "capturing"])
            delay = self.generator.uniform(0.05, self.undisturbed_seconds * (0.5 if after else 1.0))
            said, left = self.start_and_kill(quiesce, after, delay, style)
        back = self.promise_the_instance_runs(style)
        self.promise_nothing_of_the_run_stays(left)
        self.site.succeed("recover")
        assert self.site.is_running(), "recover did not bring the instance back"
        assert self.site.strays() == [], "recover left a stage"
        assert self.changes(before) == {}, "live data were changed"
        checked = self.promise_complete_ones_are_complete()
        self.site.succeed("snapshot")
        assert self.site.strays() == [], "a run that went well left a stage"
        self.promise_it_goes_on()
        return Round(
            engine=self.site.engine, style=style, quiesce=quiesce, busy=self.busy, delay_seconds=delay, said=said,
            back_seconds=back, checked=checked + self.promise_complete_ones_are_complete(),
        )  # fmt: skip

    def start_and_kill(self, quiesce: str, after: str, delay: float, style: Style) -> tuple[str | None, list[int]]:
        """Its last line and its children; None for the line when it had ended by itself."""
        log = self.site.folder / "log"
        with log.open("wb") as output:
            argv = self.site.argv("snapshot", "--quiesce", quiesce)
            child = subprocess.Popen(
                argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )
        while child.poll() is None and after not in log.read_text(errors="replace"):
            time.sleep(0.005)
        time.sleep(delay)
        family = descendants(child.pid)
        if child.poll() is not None:
            assert child.returncode in (0, 3), log.read_text(errors="replace")
            return None, family
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        for pid in family if style is not Style.PROGRAM else []:
            if style is Style.EVERYTHING or b"guardian" not in command_line(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        child.wait()
        lines = log.read_text(errors="replace").splitlines()
        return (lines[-1].strip() if lines else ""), family

    def promise_the_instance_runs(self, style: Style) -> float:
        if style is Style.EVERYTHING:
            return 0.0  # nobody is left to do it; `recover` does
        begun = time.monotonic()
        assert self.site.comes_back_within(BACK_SECONDS), f"the instance did not run again: {self.site.thread_states()}"
        return time.monotonic() - begun

    def promise_nothing_of_the_run_stays(self, family: list[int]) -> None:
        end = time.monotonic() + GONE_SECONDS
        while living := [command_line(pid) for pid in family if b"owui_vault" in command_line(pid) or is_engine(pid)]:
            assert time.monotonic() < end, f"still there: {living}"
            time.sleep(0.1)

    def changes(self, before: Mapping[str, object]) -> dict[str, tuple[object, object]]:
        after = self.site.stamps(busy=self.busy)
        names = before.keys() | after.keys()
        return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}

    def promise_complete_ones_are_complete(self) -> int:
        labels = [each["label"] for each in self.site.ask("snapshots")["snapshots"]]
        listed = {label["id"] for label in labels if label["outcome"] == "complete"}
        for identity in sorted(listed - self.checked):
            target = self.site.folder / "restored"
            self.site.succeed("restore", identity, "--target", str(target))
            self.promise_one_instant(target / "data")
            shutil.rmtree(target)
        new = len(listed - self.checked)
        self.checked |= listed
        return new

    def promise_one_instant(self, data_dir: Path) -> None:
        for database in ("webui.db", "vector_db/chroma.sqlite3"):
            with closing(sqlite3.connect(data_dir / database)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                if database == "webui.db":
                    paths = [Path(path).name for (path,) in connection.execute("SELECT path FROM file")]
        uploads, vectors, done = counts(data_dir)
        assert uploads >= vectors >= done >= uploads - 1, (uploads, vectors, done)
        assert set(paths) <= set(os.listdir(data_dir / "uploads"))

    def promise_it_goes_on(self) -> None:
        if not self.busy:
            return
        before, end = self.site.progress(), time.monotonic() + 5
        while self.site.progress() == before:
            assert time.monotonic() < end, "the instance writes no more"
            time.sleep(0.05)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_engine(pid: int) -> bool:
    return any(name in command_line(pid).split(b"\0")[0] for name in (b"restic", b"borg"))
