"""How what lies in written_by_… was made, as root, with restic 0.14.0:

    python -m tests.data.make_written_by tests/data/written_by_format_2

written_by_0.1        by commit 8fd610f, with borg 1.2.4: labels and manifests of format 1, one repository, no plan
written_by_format_2   by this form of this file, with borg 1.4.5, since 1.2.4 damages the seal of what it relabels

Later versions have to understand them, so none is made anew. When a format changes, this file makes one of the new
format before. `tests/operations/earlier.py` unpacks them. What no other machine can have is a word to be filled in:
`@FOLDER@`, below which everything lay, `@BOOT@`, the boot's id, `@SETTLED@`, a moment since then, and `@PROCESS@`, a
process with its start time. The interpreter is one that is gone. The folders of the state directory that are named
after a path (an instance's journal, a repository's memory) are named anew.

restic.tar.gz, borg.tar.gz   data, state and two repositories: a pinned snapshot, one of a plan's run, which verified
                             it, an INCOMPLETE one (its upload was changed while it was stored), a tagged one,
                             verified too; then a restore in place, with previous data; then a snapshot that was
                             killed before it was looked after, with its stage
replace.tar.gz               a restore in place, killed together with its guardian after three renames; its journal says
                             how a container is started again
undo.tar.gz                  the same of the undo of such a restore
back.tar.gz                  the same of a restore whose instance did not come up, killed on the way back: the instance
                             may run on the data that shall go, and is stopped first
holds/                       journals of holds that were killed together with their guardians
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from owui_vault import (
    BorgEngine,
    CaptureLimits,
    CronSchedule,
    DataDirectory,
    Deadline,
    Engine,
    Limits,
    Plan,
    Quiesce,
    Repository,
    ResticEngine,
    ResumeError,
    RunOutcome,
    Secret,
    Vault,
)
from owui_vault.guardian.bounded_hold import Hold
from owui_vault.guardian.guardian import Guardian
from owui_vault.guardian.journal import Journal
from owui_vault.guardian.rescue_command import SYSTEM_PATH
from owui_vault.operations.recovery import swap
from owui_vault.ports import Quiescer
from owui_vault.quiesce import systemctl
from owui_vault.quiesce.container.quiescer import ContainerQuiescer
from owui_vault.quiesce.process import ProcessQuiescer
from owui_vault.quiesce.systemd import UnitQuiescer
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock
from owui_vault.system.python import interpreter
from owui_vault.testing.instances.small import make_small_instance, state_of_small_instance, use_small_instance
from tests import borg_templates, restic_templates
from tests.operations.earlier import described, described_manifest, described_run
from tests.quiesce.test_container_faults import StandIn
from tests.quiesce.test_systemd_faults import Machine, becomes

PASSPHRASE = "a passphrase"
BORG = ".cache/engines/pypi/bin/borg"
NIGHTLY = Plan(
    name="nightly",
    schedule=CronSchedule(expression="30 2 * * *"),
    prune=False,
    verify=True,
    read_data=1.0,
)
GONE_PYTHON = "/gone/venv/bin/python3"
QUICK = Limits(capture=CaptureLimits(stop_seconds=1.0))
RENAMES = 3
ALL_RENAMES = 6


@dataclass
class Application:
    """One that comes up, or does not."""

    comes_up: bool = True
    asked: list[float] = field(default_factory=list)

    def revisions(self) -> frozenset[str] | None:
        return frozenset({"aaaaaaaaaaaa"})

    def wait_until_healthy(self, deadline: Deadline) -> str:
        self.asked.append(deadline.remaining())
        if not self.comes_up:
            raise ResumeError("it does not answer")
        return "answers"


def killed(deed: Callable[[], object]) -> None:
    """Do it in a process of its own, that has to die of it, with its guardians."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        deed()
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def die_with(guardians: list[int]) -> None:
    for pid in (*guardians, os.getpid()):
        os.kill(pid, signal.SIGKILL)


def remembered_guardians() -> list[int]:
    found: list[int] = []
    made = Guardian.__init__

    def remembered(self: Guardian, *arguments: object) -> None:
        made(self, *arguments)  # type: ignore[arg-type]
        found.append(self.pid)

    Guardian.__init__ = remembered  # type: ignore[method-assign, assignment]
    return found


def vault_of(
    folder: Path, *engines: Engine, quiescer: Quiescer | None = None, application: Application | None = None
) -> Vault:
    return Vault(
        DataDirectory(folder / "data"),
        [Repository(name, engine) for name, engine in zip(("one", "two"), engines, strict=False)],
        quiescer=quiescer,
        application=application or Application(),
        state_dir=folder / "state",
        limits=QUICK,
        plans=[NIGHTLY],
    )


def engine_of(kind: str, repository: Path, templates: Path) -> Engine:
    if kind == "borg":
        if not repository.exists():
            borg_templates.Templates(templates).place(repository, BORG, PASSPHRASE)
        return BorgEngine(str(repository), Secret(PASSPHRASE), program=BORG)
    if not repository.exists():
        restic_templates.Templates(templates).place(repository, "/usr/bin/restic", PASSPHRASE)
    return ResticEngine(str(repository), Secret(PASSPHRASE), program="/usr/bin/restic")


def around_store(engine: Engine, before: Callable[[], None], after: Callable[[], None]) -> None:
    store = engine.store

    def stored(*arguments: object) -> object:
        before()
        try:
            return store(*arguments)  # type: ignore[arg-type]
        finally:
            after()

    setattr(engine, "store", stored)  # noqa: B010  another signature


def nothing() -> None:
    pass


def make_site(kind: str, folder: Path, target: Path) -> None:
    templates = Path(tempfile.mkdtemp(dir=folder.parent))
    data_dir = folder / "data"
    make_small_instance(data_dir)
    states: dict[str, dict[str, str]] = {}

    def vault(around_one: Callable[[Engine], None] = lambda engine: None) -> Vault:
        engines = [engine_of(kind, folder / name, templates) for name in ("repository", "second")]
        around_one(engines[0])
        return vault_of(folder, *engines)

    def store(words: str, *tags: str) -> str:
        use_small_instance(data_dir, words)
        id_ = vault().snapshot(tags=tags).id
        states[id_] = state_of_small_instance(data_dir)
        return id_

    vault().initialize()
    vault().pin(store("the first"))
    use_small_instance(data_dir, "the second")
    (run,) = vault().run(NIGHTLY.name).runs
    assert run.outcome is RunOutcome.SUCCESS, run
    states[vault().snapshots("one")[0].id] = state_of_small_instance(data_dir)
    upload = next((data_dir / "uploads").iterdir())

    def rewrite() -> None:
        with upload.open("r+b") as file:
            file.write(b"THE")

    use_small_instance(data_dir, "the third")
    report = vault(lambda engine: around_store(engine, rewrite, nothing)).snapshot(to="one")
    assert report.outcome.value == "incomplete", report
    last = store("the fourth", "before-upgrade")
    assert vault().verify(last, read_data=1.0).problems == ()
    manifests = {id_: described_manifest(vault().manifest(id_)) for id_ in states}
    use_small_instance(data_dir, "the previous data")
    previous = state_of_small_instance(data_dir)
    vault().replace(vault().plan_replacement(last))
    use_small_instance(data_dir, "after the restore")
    killed(lambda: vault(lambda engine: around_store(engine, nothing, lambda: die_with([]))).snapshot(to="one"))
    assert any(path.name == "stage" for path in folder.rglob("stage"))
    saved = folder.with_name(f"{folder.name}.saved")
    shutil.copytree(folder, saved, symlinks=True)
    expected = {
        "snapshots": [described(each) for each in vault().snapshots("one")],
        "second": [described(each) for each in vault().snapshots("two")],
        "runs": [described_run(each) for each in vault().history()],
        "manifests": manifests,
        "states": states,
        "previous": previous,
        "now": state_of_small_instance(data_dir),
    }
    shutil.rmtree(folder)
    saved.rename(folder)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1))
    pack(folder, target / f"{kind}.tar.gz")


def make_exchange(deed: str, folder: Path, target: Path) -> None:
    data_dir = folder / "data"
    make_small_instance(data_dir)
    stand_in = StandIn(folder)
    templates = Path(tempfile.mkdtemp(dir=folder.parent))

    def vault() -> Vault:
        quiescer = ContainerQuiescer("box", engine=stand_in.address, stop_seconds=1)
        application = Application(comes_up=deed != "back")
        engine = engine_of("restic", folder / "repository", templates)
        return vault_of(folder, engine, quiescer=quiescer, application=application)

    use_small_instance(data_dir, "earlier")
    earlier = state_of_small_instance(data_dir)
    vault().initialize()
    vault().snapshot(quiesce=Quiesce.LIVE)
    use_small_instance(data_dir, "later")
    later = state_of_small_instance(data_dir)
    if deed == "undo":
        vault().replace(vault().plan_replacement("latest"))

    def die_at_a_rename() -> None:
        guardians, move, left = remembered_guardians(), swap._move, [RENAMES + (ALL_RENAMES if deed == "back" else 0)]

        def counted(*arguments: object) -> None:
            if left[0] == 0:
                die_with(guardians)
            left[0] -= 1
            move(*arguments)  # type: ignore[arg-type]

        setattr(swap, "_move", counted)  # noqa: B010  another signature
        if deed == "undo":
            vault().undo()
        else:
            vault().replace(vault().plan_replacement("latest"))

    killed(die_at_a_rename)
    assert stand_in.status == "exited", stand_in.status
    stand_in.down()
    stand_in.socket.unlink()
    shutil.rmtree(folder / "repository")
    expected = {"after": earlier if deed == "undo" else later, "starts": stand_in.starts}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1))
    for record in (folder / "state").rglob("journal/*/*.json"):
        record.write_text(with_words(record.read_text(), folder))
    pack(folder, target / f"{deed}.tar.gz")


def make_hold(name: str, quiescer: Quiescer, mode: Quiesce, folder: Path, target: Path) -> None:
    journal = Journal(folder / f"journal-{name}")
    hold = Hold(quiescer, journal, None, SystemClock())

    def die_inside() -> None:
        guardians = remembered_guardians()
        with hold(mode, 30.0):
            die_with(guardians)

    killed(die_inside)
    (record,) = (folder / f"journal-{name}").glob("*.json")
    (target / "holds").mkdir(exist_ok=True)
    (target / "holds" / f"{name}.json").write_text(with_words(record.read_text(), folder))


def make_holds(folder: Path, target: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        (folder / "pid").write_text(str(process.pid))
        identity = str(procfs.identify(process.pid))
        make_hold("process-pause", ProcessQuiescer(folder / "pid"), Quiesce.PAUSE, folder, target)
        path = target / "holds" / "process-pause.json"
        path.write_text(path.read_text().replace(identity, "@PROCESS@"))
        machine = Machine(folder)
        systemctl._CGROUPS = (folder / "cgroup",)
        systemctl._ENVIRONMENT = {"PATH": f"{machine.program.parent}:{SYSTEM_PATH}", "LC_ALL": "C.UTF-8"}
        os.kill(process.pid, signal.SIGCONT)
        machine.inhabit(process.pid)
        machine.at("freeze", becomes("FreezerState", "frozen"))
        machine.unit(TriggeredBy="family.socket")
        machine.unit("family.socket", TriggeredBy="")
        machine.kernel_says(frozen=1)
        make_hold("unit-pause", UnitQuiescer("family"), Quiesce.PAUSE, folder, target)
        machine.unit(TriggeredBy="family.socket")
        machine.kernel_says(frozen=0)
        machine.at("stop", becomes("ActiveState", "inactive"))
        make_hold("unit-stop", UnitQuiescer("family"), Quiesce.STOP, folder, target)
        process.kill()
    stand_in = StandIn(folder)
    for mode in (Quiesce.PAUSE, Quiesce.STOP):
        stand_in.status = "running"
        quiescer = ContainerQuiescer("box", engine=stand_in.address, stop_seconds=1)
        make_hold(f"container-{mode.value}", quiescer, mode, folder, target)
    stand_in.down()


def with_words(text: str, folder: Path) -> str:
    for value, word in (
        (interpreter(), GONE_PYTHON),
        (str(folder), "@FOLDER@"),
        (procfs.boot_id(), "@BOOT@"),
    ):
        text = text.replace(value, word)
    return re.sub(r"--settled=[0-9.]+", "--settled=@SETTLED@", text)


def pack(folder: Path, archive: Path) -> None:
    for unneeded in folder.rglob("*.sock"):
        unneeded.unlink()
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as file:
        for path in sorted(folder.iterdir()):
            file.add(path, path.name)


def main(target: Path) -> None:
    target.mkdir(exist_ok=True)
    makers: tuple[Callable[[Path], None], ...] = (
        *(partial(make_site, kind, target=target) for kind in ("restic", "borg")),
        *(partial(make_exchange, deed, target=target) for deed in ("replace", "undo", "back")),
        partial(make_holds, target=target),
    )
    with tempfile.TemporaryDirectory() as name:
        for number, make in enumerate(makers):
            folder = Path(name) / str(number)
            folder.mkdir()
            make(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
