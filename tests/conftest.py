"""Fixtures shared by all tests: the engines of the matrix, the random seed, the share of long loops.

A new test is in `make test` as it stands, and has to be quick: `tests/runs.py` says what leaves one to `make test-all`
or to `make soak`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.borg_templates import PlaceBorg
from tests.borg_templates import Templates as BorgTemplates
from tests.restic_templates import PlaceRestic, Templates
from tests.runs import marker_of

# The environment carries the seed to the workers of a parallel run, so that the header tells the seed of all of them.
SEED = int(os.environ.setdefault("OWUI_VAULT_SEED", str(random.randrange(1 << 32))))
SOAK = float(os.environ.get("OWUI_VAULT_SOAK", "0.1"))
REQUIRE_ALL = os.environ.get("REQUIRE") == "all"
#: The only skips that stay skips under REQUIRE=all: claims of a suite that make no sense for a subject.
NOT_ASKED = {"nothing else writes such repositories", "knows no hosts"}

# How long an example takes to draw says how busy the machine is, and nothing about the test.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

ROOT = Path(__file__).parent.parent
#: What failed, in short, run after run: `.ci/run` ends with it.
FAILURES = ROOT / ".cache" / "failures.txt"
#: There while `make coverage` measures: see tools/coverage_in_children.py.
MEASURED_PYTHON = ROOT / ".cache" / "coverage-in-children" / "python3"
MEASURED_BUT_CAPTURES = MEASURED_PYTHON.parent / "without-captures" / "python3"
if MEASURED_BUT_CAPTURES.exists():
    sys.executable = str(MEASURED_BUT_CAPTURES)

FOLDERS = [Path(folder) for folder in os.environ.get("OWUI_VAULT_ENGINES", "").split(":") if folder]
FOLDERS += [ROOT / ".cache" / "engines", Path("/opt/engines")]


def codename() -> str:
    """The name of this machine's own suite (`bookworm`, `noble`)."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return release.get("VERSION_CODENAME", "system").strip('"')


def unpacked(suite: str, program: str) -> Path | None:
    """A program that `tools/engine-matrix` brought."""
    below = ("usr/bin", "bin", "usr/libexec/docker/cli-plugins")
    places = [folder / suite / each / program for folder in FOLDERS for each in below]
    return next((place for place in places if os.access(place, os.X_OK)), None)


def installed(program: str) -> Path | None:
    """The system's own program, also inside a virtual environment that has another one."""
    found = shutil.which(program, path="/usr/local/bin:/usr/bin:/bin") or shutil.which(program)
    return Path(found) if found else None


OWN = codename()
#: The matrix, oldest first: suite → program, or None where it is missing on this machine.
RESTICS: Mapping[str, Path | None] = {OWN: installed("restic")} | {
    suite: unpacked(suite, "restic") for suite in ("trixie", "sid") if suite != OWN
}
BORGS: Mapping[str, Path | None] = {OWN: installed("borg"), "pypi": unpacked("pypi", "borg")}


def pytest_report_header() -> list[str]:
    engines = {
        f"{kind}-{suite}": path
        for kind, suites in (("restic", RESTICS), ("borg", BORGS))
        for suite, path in suites.items()
    }
    return [
        f"OWUI_VAULT_SEED={SEED} OWUI_VAULT_SOAK={SOAK} REQUIRE={os.environ.get('REQUIRE', '')}",
        *(f"{name}: {path or 'missing'}" for name, path in engines.items()),
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failures = [*terminalreporter.stats.get("failed", []), *terminalreporter.stats.get("error", [])]
    if failures and terminalreporter.config.rootpath == ROOT:
        FAILURES.parent.mkdir(exist_ok=True)
        with FAILURES.open("a") as file:
            file.writelines(in_short(report) for report in failures)
    reasons = Counter(reason_of(report) for report in terminalreporter.stats.get("skipped", []))
    if reasons:
        terminalreporter.section("not run on this machine")
        for reason, count in sorted(reasons.items()):
            terminalreporter.write_line(f"{count:5d} × {reason}")


def in_short(report: pytest.TestReport | pytest.CollectReport) -> str:
    """One failure in a few lines: what a log that is cut in the middle must still have at its end."""
    said = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
    node = getattr(report, "node", None)  # the worker, of a parallel run
    where = f"{report.when}{f', {node.gateway.id}' if node else ''}, {getattr(report, 'duration', 0.0):.0f} s"
    return "\n    ".join([f"{report.nodeid} ({where})", *(line[:300] for line in said[:6])]) + "\n"


@pytest.fixture(autouse=True)
def no_guardian_stays() -> Iterator[None]:
    """A guardian that cannot bring its instance back tries for an hour, beside all the tests that follow."""
    yield
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with suppress(OSError):
            if b"guardian_main.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def seed() -> random.Random:
    """A generator that a failing run can repeat: the seed is in the header of the run."""
    return random.Random(SEED)


@pytest.fixture
def soak(record_property: Callable[[str, object], None]) -> Callable[[int], int]:
    """`soak(1000)`: how many of the full count this run does; never fewer than one.

    `make test` does one, `make test-all` a tenth, `make soak` all of them.
    """

    def counted(full: int) -> int:
        count = max(1, round(full * SOAK))
        record_property("count", count)
        return count

    return counted


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests whose counts come from the setting, for `make soak`, and those that `make test` leaves out."""
    engines = {"restic_program": list(RESTICS), "borg_program": list(BORGS)}
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "soak" in fixtures:
            item.add_marker("soak")
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        chosen = {name: str(parameters[name]) for name in {"make_engine", *engines} & parameters.keys()}
        marker = marker_of({mark.name for mark in item.iter_markers()}, fixtures, engines, chosen)
        if marker:
            item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under REQUIRE=all a test that was skipped, in whatever way, has failed: what it needs is missing here."""
    report = yield
    if REQUIRE_ALL and report.skipped:
        reason = reason_of(report)
        if reason not in NOT_ASKED:
            report.outcome = "failed"
            report.longrepr = f"skipped, though REQUIRE=all: {reason}"
    return report


def reason_of(report: pytest.TestReport) -> str:
    """Why a test was skipped."""
    told = report.longrepr
    return (str(told[2]) if isinstance(told, tuple) else str(told)).removeprefix("Skipped: ")


def require(program: str | Path, why: str) -> Path:
    """The program's path; without it the test is skipped, by name."""
    found = shutil.which(str(program))
    if not found:
        pytest.skip(f"{program} is not installed: {why}")
    return Path(found)


@pytest.fixture(scope="session")
def program() -> Callable[[str, str], Path]:
    """`program("mkfs.xfs", "loop-mounted XFS")`: its path, or the test is skipped."""
    return require


@pytest.fixture(scope="session")
def place_restic(tmp_path_factory: pytest.TempPathFactory) -> PlaceRestic:
    """`place_restic(repository, program, passphrase)`: an empty repository, in no time and with a cheap key."""
    return Templates(tmp_path_factory.mktemp("restic-templates")).place


@pytest.fixture(scope="session")
def place_borg(tmp_path_factory: pytest.TempPathFactory) -> PlaceBorg:
    """`place_borg(repository, program, passphrase)`: an empty repository, in no time and with a cheap key."""
    return BorgTemplates(tmp_path_factory.mktemp("borg-templates")).place


def chosen(kind: str, matrix: Mapping[str, Path | None], suite: str) -> Path:
    path = matrix.get(suite)
    if path is None:
        pytest.skip(f"{kind}-{suite} is not here (tools/engine-matrix brings it)")
    return path


@pytest.fixture(scope="session", params=list(RESTICS), ids=[f"restic-{suite}" for suite in RESTICS])
def restic_program(request: pytest.FixtureRequest) -> Path:
    """Each restic of the matrix in turn. `parametrize("restic_program", ["sid"], indirect=True)` takes one."""
    return chosen("restic", RESTICS, request.param)


@pytest.fixture(scope="session", params=list(BORGS), ids=[f"borg-{suite}" for suite in BORGS])
def borg_program(request: pytest.FixtureRequest) -> Path:
    """Each borg of the matrix in turn."""
    return chosen("borg", BORGS, request.param)


@pytest.fixture(scope="session")
def own_restic() -> Path:
    """The system's own restic."""
    return chosen("restic", RESTICS, OWN)


@pytest.fixture(scope="session")
def own_borg() -> Path:
    """The system's own borg."""
    return chosen("borg", BORGS, OWN)


@pytest.fixture(scope="session")
def newest_restic() -> Path:
    """The newest restic of the matrix: the oracle of retention (0.18 or newer), exit codes 10 to 12."""
    return chosen("restic", RESTICS, list(RESTICS)[-1])


@pytest.fixture(scope="session")
def newest_borg() -> Path:
    """The newest borg of the matrix."""
    return chosen("borg", BORGS, "pypi")


@pytest.fixture(scope="session")
def rest_server() -> Path:
    """A restic server over HTTP."""
    return next((path for suite in RESTICS if (path := unpacked(suite, "restic-rest-server"))), None) or require(
        "restic-rest-server", "repositories over HTTP (tools/engine-matrix brings it)"
    )


@pytest.fixture(scope="session")
def rclone() -> Path:
    """The newest rclone."""
    return unpacked("sid", "rclone") or unpacked("trixie", "rclone") or require("rclone", "repositories through rclone")


@pytest.fixture(scope="session")
def chromium() -> str:
    """A real browser."""
    return shutil.which("chromium") or str(require("chromium", "the page to look at (tools/set-up-all installs it)"))


@pytest.fixture(scope="session")
def compose() -> Path:
    """Docker Compose 2, as a program of its own."""
    return unpacked("trixie", "docker-compose") or require("docker-compose", "the example of a sidecar")


@pytest.fixture(scope="session")
def small_instance() -> Callable[[Path], Path]:
    """`small_instance(folder)`: unpack the real small instance into a new folder; its data directory.

    By tar: `tarfile` can be told to be careful from Python 3.11.4 on only, and Debian 12 has 3.11.2.
    """

    def unpack(folder: Path) -> Path:
        folder.mkdir(parents=True)
        archive = ROOT / "examples" / "data" / "instance-small.tar.gz"
        subprocess.run(["tar", "-xzf", archive, "--no-same-owner", "-C", folder], check=True)
        return folder / "data"

    return unpack
