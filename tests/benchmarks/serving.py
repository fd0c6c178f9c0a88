"""What people who use the application see of it: how long it is away in a stop, and how late a request is answered.

The application of the tests in a container of a real engine, with data of its own; it needs root and Docker.
"""

from __future__ import annotations

import http.client
import itertools
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from owui_vault import Container, Quiesce, Repository, Secret, Vault
from owui_vault.errors import NotProvenError
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.benchmarks.living import DELAY_TARGET_SECONDS
from tests.benchmarks.tables import Table, begin, milliseconds, seconds, size
from tests.ports import free_port

IMAGE = "owui-vault-test"
APPLICATION = Path(__file__).parents[1] / "docker" / "application" / "application.py"
RATE = 100
UP_SECONDS = 60.0
BETWEEN_REQUESTS_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Site:
    """The application in its container, and where it answers."""

    name: str
    data: Path
    port: int

    def answers(self) -> bool:
        """Whether it answers now."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait(self) -> None:
        """Until it answers. Raises RuntimeError."""
        end = time.monotonic() + UP_SECONDS
        while not self.answers():
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name} does not answer")
            time.sleep(0.002)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def possible() -> bool:
    """Whether an engine answers here and has the image (`tools/engine-up`, `tools/build-test-images`)."""
    argv = ["docker", "image", "inspect", IMAGE]
    return bool(shutil.which("docker")) and subprocess.run(argv, capture_output=True, check=False).returncode == 0


@contextmanager
def site(work: Path, size_bytes: int) -> Iterator[Site]:
    """The application over about so many bytes, running for the length of a block."""
    data = work / "served"
    data.mkdir()
    argv = [sys.executable, str(APPLICATION), "fill", str(max(1, size_bytes // 1_000_000))]
    subprocess.run(argv, env={"DATA_DIR": str(data)}, check=True)
    name = f"owui-vault-bench-{uuid.uuid4().hex[:8]}"
    port = free_port()
    options = (f"--volume={data}:/app/backend/data", f"--publish=127.0.0.1:{port}:8080", f"--env=RATE={RATE}", "--init")
    docker("run", "--detach", f"--name={name}", "--no-healthcheck", *options, IMAGE)
    try:
        found = Site(name, data, port)
        found.wait()
        yield found
    finally:
        docker("rm", "--force", "--volumes", name)
        shutil.rmtree(data)


def vault_of(found: Site, work: Path) -> Vault:
    """A vault whose repository costs nothing: captures are made, nothing is stored."""
    repository = Repository("bench", DirectoryEngine(work / "served-repository", Secret("x")))
    made = Vault(Container(found.name, store_unproven=False), [repository], state_dir=work / "served-state")
    made.initialize()
    return made


def outage(work: Path, size_bytes: int, times: int) -> Table:
    table = begin(
        "How long a stop keeps the application away",
        "The application of the tests (it stops and starts in half a second; the real one takes 15 s more) in a "
        "container, seen by requests from outside: from the last answer before to the first one after. *Script* is "
        "the tutorial's cold way: stop, `rsync -a --delete`, start.",
        *("data", "way", "away, median", "longest"),
    )
    with site(work, size_bytes) as found:
        made, target = vault_of(found, work), work / "cold"

        def ours() -> None:
            made.snapshot(quiesce=Quiesce.STOP, dry_run=True)

        def script() -> None:
            docker("stop", found.name)
            subprocess.run(["rsync", "-a", "--delete", f"{found.data}/", f"{target}/"], check=True)
            docker("start", found.name)

        first = away(found, script)
        cold, warm = [], []
        for _ in range(times):
            cold.append(away(found, script))
            warm.append(away(found, ours))
        total = sum(path.stat().st_size for path in found.data.rglob("*") if path.is_file())
        table.add(size(total), "script, first", seconds(first), seconds(first))
        table.add(size(total), "script, next", seconds(median(cold)), seconds(max(cold)))
        table.add(size(total), "`--quiesce stop`", seconds(median(warm)), seconds(max(warm)))
        shutil.rmtree(target)
    return table


def away(found: Site, deed: Callable[[], None]) -> float:
    """The longest time without an answer while something is done, and until it answers again."""
    moments, stop = [time.monotonic()], threading.Event()

    def look() -> None:
        while not stop.is_set():
            if found.answers():
                moments.append(time.monotonic())
            time.sleep(BETWEEN_REQUESTS_SECONDS)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        time.sleep(0.5)
        deed()
        found.wait()
        time.sleep(0.5)
    finally:
        stop.set()
        watcher.join()
    return max(later - earlier for earlier, later in itertools.pairwise(moments))


def requests(work: Path, size_bytes: int, times: int) -> Table:
    table = begin(
        "How late a request is answered",
        "Requests to the application in its container, one after the other without a pause, while it commits "
        f"{RATE} times per second: the slowest of each span, with a capture and without one in turn. A pause makes "
        "them wait for as long as it freezes.",
        *("data", "mode", "complete", "slowest without, median", "slowest with, median", "slowest with", "target"),
    )
    with site(work, size_bytes) as found:
        made = vault_of(found, work)
        total = sum(path.stat().st_size for path in found.data.rglob("*") if path.is_file())
        for mode in (Quiesce.LIVE, Quiesce.PAUSE):
            complete, spans, usual = 0, [], []
            for _ in range(times):
                begun = time.monotonic()
                slow = Slowest(found)
                complete += captured(made, mode)
                spans.append(slow.end())
                still = Slowest(found)
                time.sleep(time.monotonic() - begun)
                usual.append(still.end())
            more = max(spans) - max(usual)
            late = "≤ 50 ms more" if more <= DELAY_TARGET_SECONDS else "**> 50 ms more**"
            table.add(
                *(size(total), mode.value, f"{complete} of {times}", milliseconds(median(usual))),
                *(milliseconds(median(spans)), milliseconds(max(spans)), late if mode is Quiesce.LIVE else ""),
            )
    return table


def captured(made: Vault, mode: Quiesce) -> bool:
    """Whether an instant could be proven; not stored."""
    try:
        made.snapshot(quiesce=mode, dry_run=True)
    except NotProvenError:
        return False
    return True


class Slowest:
    """Asks from now on; `end` tells the longest that one answer took."""

    def __init__(self, found: Site) -> None:
        self._stop = threading.Event()
        self._worst = 0.0
        self._found = found
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            if self._found.answers():
                self._worst = max(self._worst, time.monotonic() - begun)
            time.sleep(BETWEEN_REQUESTS_SECONDS)

    def end(self) -> float:
        """Seconds."""
        self._stop.set()
        self._thread.join()
        return self._worst
