"""What a capture does to a living application, and the application to a capture."""

from __future__ import annotations

import array
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from owui_vault import DataDirectory, Outcome, Quiesce, Repository, Secret, Vault
from owui_vault.errors import NotProvenError
from owui_vault.model import CaptureLimits, SnapshotReport
from owui_vault.quiesce.process import ProcessQuiescer
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.benchmarks.tables import Table, at_least, begin, milliseconds, seconds, size
from tests.benchmarks.ways import Place

COMMIT_TARGET = 0.95
DELAY_TARGET_SECONDS = 0.050
RATES = (
    ("chat", 10.0),
    ("chat", 100.0),
    ("chat", 1000.0),
    ("chat", 0.0),
    ("documents", 1.0),
    ("documents", 20.0),
    ("documents", 0.0),
)


@dataclass
class Writer:
    """The writing application. `stamps`, filled when the block ends, are each commit's end and the seconds it took."""

    pid_file: Path
    stamps: list[tuple[float, float]] = field(default_factory=list)

    def between(self, spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [stamp for stamp in self.stamps if any(begun <= stamp[0] < ended for begun, ended in spans)]

    def rate(self, spans: Sequence[tuple[float, float]]) -> float:
        return len(self.between(spans)) / sum(ended - begun for begun, ended in spans)

    def worst(self, spans: Sequence[tuple[float, float]]) -> float:
        return max((took for _, took in self.between(spans)), default=0.0)


@contextmanager
def writing(place: Place, kind: str, rate: float) -> Iterator[Writer]:
    """A writing application for the length of a block."""
    log, pid_file = place.work / "writer.log", place.work / "writer.pid"
    script = Path(__file__).with_name("writer.py")
    argv = [sys.executable, str(script), str(place.data_dir), "--kind", kind, "--rate", str(rate), "--log", str(log)]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    child.stdout.readline()
    pid_file.write_text(f"{child.pid}\n")
    writer = Writer(pid_file)
    try:
        yield writer
    finally:
        child.terminate()
        status = child.wait()
        child.stdout.close()
    if status:
        raise RuntimeError(f"the writing application ended with {status}")
    flat = array.array("d", log.read_bytes())
    writer.stamps = list(zip(flat[0::2], flat[1::2], strict=True))


def vault(place: Place, writer: Writer | None = None) -> Vault:
    """A vault whose repository costs nothing: captures are made, nothing is stored."""
    repository = Repository("bench", DirectoryEngine(place.work / "directory-repository", Secret("x")))
    made = Vault(
        DataDirectory(place.data_dir, store_unproven=False),
        [repository],
        quiescer=ProcessQuiescer(writer.pid_file) if writer else None,
        state_dir=place.work / "living-state",
    )
    made.initialize()
    return made


def capture(made: Vault, mode: Quiesce) -> SnapshotReport | None:
    """One capture that is not stored; None: no instant could be proven."""
    try:
        return made.snapshot(quiesce=mode, dry_run=True)
    except NotProvenError:
        return None


def proven_rate(place: Place, times: int) -> Table:
    table = begin(
        "Live captures against the writer's rate",
        "An application commits at a fixed rate (chats go to webui.db, documents to Chroma); *proven* instants of "
        "all captures tried with `live`, attempts and seconds each needed. Nothing is frozen. What cannot be proven "
        "live is what `pause` is for.",
        *("writer", "commits/s", "proven", "attempts", "capture", "longest"),
    )
    for kind, rate in RATES:
        with writing(place, kind, rate) as writer:
            made = vault(place)
            spans, reports = [], []
            for _ in range(times):
                begun = time.monotonic()
                reports.append(capture(made, Quiesce.LIVE))
                spans.append((begun, time.monotonic()))
        proven = [report for report in reports if report]
        tried = [report.proof.attempts if report else CaptureLimits().live_attempts for report in reports]
        walls = [ended - begun for begun, ended in spans]
        table.add(
            f"{kind}, {f'{rate:g}/s' if rate else 'full speed'}",
            f"{writer.rate(spans):.0f}",
            f"{len(proven)} of {times}",
            f"{sum(tried) / times:.1f}",
            seconds(median(walls)),
            seconds(max(walls)),
        )
    return table


def effect(place: Place, times: int) -> Table:
    """Spans with a capture and spans without take turns, equally long."""
    table = begin(
        "What a live capture costs the application",
        "Commits per second and the slowest commit while a capture runs, beside equally long spans without one, "
        "taking turns in one run of the same writer.",
        *("writer", "without us", "during live", "ratio", "slowest without", "slowest during live", "target"),
    )
    for rate in (200.0, 0.0):
        with_us, without = [], []
        os.sync()  # what earlier cases wrote is still on its way to the disk, and a commit would wait for that as well
        with writing(place, "chat", rate) as writer:
            made = vault(place)
            for _ in range(times):
                begun = time.monotonic()
                capture(made, Quiesce.LIVE)
                middle = time.monotonic()
                time.sleep(middle - begun)
                with_us.append((begun, middle))
                without.append((middle, time.monotonic()))
        slow, usual = writer.worst(with_us), writer.worst(without)
        late = "≤ 50 ms more" if slow - usual <= DELAY_TARGET_SECONDS else "**> 50 ms more**"
        table.add(
            f"chat, {f'{rate:g}/s' if rate else 'full speed'}",
            f"{writer.rate(without):.0f}/s",
            f"{writer.rate(with_us):.0f}/s",
            at_least(writer.rate(with_us) / writer.rate(without), COMMIT_TARGET),
            milliseconds(usual),
            milliseconds(slow),
            late,
        )
    return table


def freeze(place: Place, table: Table, times: int, *, filesystem: str) -> None:
    """How long `pause` keeps the application from writing."""
    with writing(place, "chat", 500.0) as writer:
        made = vault(place, writer)
        spans, reports = [], []
        for _ in range(times):
            begun = time.monotonic()
            reports.append(capture(made, Quiesce.PAUSE))
            spans.append((begun, time.monotonic()))
            time.sleep(0.2)
    complete = [report for report in reports if report and report.outcome is Outcome.COMPLETE]
    gaps = [longest_gap(writer, span) for span in spans]
    vectors = sum(path.stat().st_size for path in (place.data_dir / "vector_db").rglob("*") if path.is_file())
    total = sum(path.stat().st_size for path in place.data_dir.rglob("*") if path.is_file())
    frozen = median([report.proof.freeze_seconds for report in reports if report] or [0.0])
    row = (size(total), size(vectors), filesystem, f"{len(complete)} of {times}", milliseconds(frozen))
    table.add(*row, milliseconds(median(gaps)), milliseconds(max(gaps)))


def longest_gap(writer: Writer, span: tuple[float, float]) -> float:
    """The longest time without a commit, as the application saw it."""
    ends = [span[0], *(end for end, _ in writer.between([span])), span[1]]
    return max(later - earlier for earlier, later in itertools.pairwise(ends))


def freeze_table() -> Table:
    return begin(
        "How long `pause` freezes",
        "An application committing 500 times per second, frozen by its pid file. *Frozen* is what the manifest "
        "says, *gap* the longest time between two commits as the application saw it. `live` freezes for 0. XFS shares "
        "blocks (reflinks), ext4 copies.",
        *("data", "of it vectors", "on", "complete", "frozen", "gap", "longest gap"),
    )
