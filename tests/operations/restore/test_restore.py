"""A restore keeps its promises, and says of itself when it could not."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault import (
    Call,
    CancelledError,
    Component,
    ConfigError,
    Container,
    ContentMismatchError,
    DataDirectory,
    Entry,
    InstanceNotFoundError,
    NoSpaceError,
    Outcome,
    Repository,
    RestoreReport,
    Secret,
    Snapshot,
    SnapshotReport,
    TargetError,
    Vault,
)
from owui_vault.instance.container import container
from owui_vault.operations.restore.restore import paths_of
from owui_vault.operations.restore.target import MARKER, claimed
from owui_vault.operations.snapshot import manifest_builder as describing
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, state_of_small_instance, use_small_instance
from tests.built_once import BuiltOnce

CONTAINER_PATH = "/app/backend/data"


class WatchedEngine(DirectoryEngine):
    """Tells what lies in the target while it is fetched into, and can spoil what it fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Secret("x"))
        self.during: Callable[[Path], object] = lambda _target: None

    def fetch(self, engine_id: str, target: Path, call: Call, *, paths: Sequence[str] = ()) -> None:
        super().fetch(engine_id, target, call, paths=paths)
        if (target / MARKER).exists():  # not one that is only looked at
            self.during(target)


class House:
    """A pip installation with everything a snapshot can hold, and one snapshot of it."""

    taken: SnapshotReport

    def __init__(self, folder: Path, as_built: House | None = None) -> None:
        self.folder = folder
        self.data_dir = folder / "instance" / "data"
        if as_built is None:
            self._furnish()
        self.engine = WatchedEngine(folder / "repository")
        self.vault = Vault(
            DataDirectory(self.data_dir),
            [Repository("nas", self.engine)],
            state_dir=folder / "state",
            config_file=folder / "vault.yaml",
        )
        if as_built is None:
            self.vault.initialize()
        self.taken = as_built.taken if as_built else self.vault.snapshot()
        assert self.taken.outcome is Outcome.COMPLETE
        self.target = folder / "copy"

    def _furnish(self) -> None:
        make_small_instance(self.data_dir)
        use_small_instance(self.data_dir, "mine")
        (self.data_dir / "config.json").write_text("{}")
        (self.data_dir / "something").write_text("kept")
        (self.data_dir / "vector_db" / "note").write_text("beside")
        for name in ("functions/f.py", "image/generations/a.png"):
            (self.data_dir / "cache" / name).parent.mkdir(parents=True)
            (self.data_dir / "cache" / name).write_text("kept")
        (self.data_dir.parent / ".webui_secret_key").write_text("a secret key")
        (self.folder / "vault.yaml").write_text("{}")

    def restore(self, **more: object) -> RestoreReport:
        return self.vault.restore("latest", self.target, **more)  # type: ignore[arg-type]

    def forge(self, change: Callable[[Path], object]) -> Snapshot:
        """The same snapshot once more under the same label, its tree changed."""
        tree = self.folder / "tree"
        self.vault.restore("latest", tree, app_data_dir=str(self.data_dir))
        change(tree)
        (stored,) = self.vault.snapshots()
        assert stored.label
        call = Call(folder=self.folder)
        self.engine.remove([stored.engine_id], call)
        return self.engine.store(tree, stored.label, call).snapshot

    def rows(self) -> list[str]:
        with closing(sqlite3.connect(f"file:{self.target}/data/webui.db?immutable=1", uri=True)) as connection:
            return [path for (path,) in connection.execute("SELECT path FROM file")]


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> BuiltOnce[House]:
    return BuiltOnce(tmp_path_factory.mktemp("houses"), House)


@pytest.fixture
def house(houses: BuiltOnce[House]) -> House:
    return House(houses.place, houses.put_back())


def test_everything_comes_back_and_the_report_says_so(house: House) -> None:
    report = house.restore()
    assert state_of_small_instance(report.data_dir) == state_of_small_instance(house.data_dir)
    assert sorted(path.name for path in house.target.iterdir()) == ["RESTORE.txt", "data", "manifest.json", "outside"]
    assert report.secret_key == house.target / "outside/webui_secret_key"
    assert report.secret_key.read_text() == "a secret key"
    assert stat.S_IMODE(report.secret_key.stat().st_mode) == 0o600
    assert report.manifest.outcome is Outcome.COMPLETE


def test_the_target_says_that_it_is_not_whole_until_it_is(house: House) -> None:
    said: list[str] = []
    house.engine.during = lambda target: said.append((target / MARKER).read_text())
    house.restore()
    assert said == ["A restore into this directory is running, or was killed. Do not start Open WebUI on it.\n"]
    assert not (house.target / MARKER).exists()


def fail(error: BaseException) -> Callable[[Path], object]:
    def raising(_target: Path) -> None:
        raise error

    return raising


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoSpaceError("no space left at /x"), "no space left at /x"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_after_a_failure_the_target_says_why(house: House, error: BaseException, words: str) -> None:
    house.engine.during = fail(error)
    with pytest.raises(type(error)):
        house.restore()
    text = (house.target / MARKER).read_text()
    assert words in text
    assert "Do not start Open WebUI on it." in text
    house.engine.during = lambda _target: None
    with pytest.raises(TargetError, match="a restore left that did not succeed"):
        house.restore()


def spoil(target: Path) -> None:
    path = target / "data/webui.db"
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("during", "words"),
    [
        (spoil, "webui.db is not what was stored"),
        (lambda target: next((target / "data/uploads").iterdir()).unlink(), "uploads: 0 files"),
        (lambda target: (target / "outside/webui_secret_key").unlink(), "outside/: secret_key: 0 files"),
        (lambda target: (target / "data/something").write_text("other, longer"), "other: 1 files with 13 bytes"),
    ],
)
def test_what_differs_from_the_manifest_is_exit_5_and_the_marker_stays(
    house: House, during: Callable[[Path], object], words: str
) -> None:
    house.engine.during = during
    with pytest.raises(ContentMismatchError, match=words) as caught:
        house.restore()
    assert caught.value.exit_code == 5
    assert caught.value.hint
    assert words in (house.target / MARKER).read_text()


def test_a_manifest_of_another_snapshot_is_not_believed(house: House) -> None:
    id_ = house.taken.id
    other = "00000000" if id_ != "00000000" else "11111111"
    house.forge(
        lambda tree: (tree / "manifest.json").write_text(
            (tree / "manifest.json").read_text().replace(f'"{id_}"', f'"{other}"')
        )
    )
    with pytest.raises(ContentMismatchError, match=f"snapshot {id_} says it is {other}"):
        house.restore()
    assert f"says it is {other}" in (house.target / MARKER).read_text()


def test_a_snapshot_without_a_manifest_is_refused(house: House) -> None:
    house.forge(lambda tree: (tree / "manifest.json").unlink())
    with pytest.raises(ContentMismatchError, match=r"holds no manifest.json"):
        house.restore()
    assert "holds no manifest.json" in (house.target / MARKER).read_text()


def test_a_pip_installation_finds_its_uploads_where_they_are_now(house: House) -> None:
    report = house.restore()
    assert (report.rewritten, report.app_data_dir) == (1, str(house.target / "data"))
    assert [Path(path).read_text() for path in house.rows()] == ["mine"]
    assert house.rows()[0].startswith(f"{house.target}/data/uploads/")
    assert not list(house.target.rglob("webui.db-*"))


def test_a_container_keeps_the_path_it_sees(house: House) -> None:
    with closing(sqlite3.connect(house.data_dir / "webui.db")) as connection:
        connection.execute("UPDATE file SET path = replace(path, ?, ?)", (str(house.data_dir), CONTAINER_PATH))
        connection.commit()
    house.vault.snapshot()
    report = house.restore()
    assert (report.rewritten, report.app_data_dir) == (0, CONTAINER_PATH)
    assert house.rows()[0].startswith(f"{CONTAINER_PATH}/uploads/")
    house.target = house.folder / "another"
    report = house.restore(app_data_dir="/data/")
    assert (report.rewritten, report.app_data_dir) == (1, "/data")
    assert house.rows()[0].startswith("/data/uploads/")


@pytest.mark.parametrize("wanted", ["relative", "./data", "", "/a\0b"])
def test_a_path_for_the_application_is_looked_at_before_anything_is_fetched(house: House, wanted: str) -> None:
    house.engine.during = fail(AssertionError("fetched"))
    with pytest.raises(ConfigError, match="is not a path at which the application can see its data"):
        house.restore(app_data_dir=wanted)
    with pytest.raises(ConfigError, match="is not among the components") as caught:
        house.restore(app_data_dir="/data", components=[Component.UPLOADS])
    assert "database" in caught.value.hint
    assert not house.target.exists()


def test_a_ruined_database_comes_back_as_it_is_with_a_warning(house: House) -> None:
    (house.data_dir / "webui.db").write_bytes(b"noise" * 4000)
    ruined = house.vault.snapshot()
    report = house.vault.restore(ruined.id, house.target, app_data_dir="/data")
    assert (report.rewritten, report.data_dir.joinpath("webui.db").read_bytes()) == (0, b"noise" * 4000)
    assert "webui.db is damaged: the paths of uploads in it stay as they are" in report.warnings


ALONE = {
    Component.DATABASE: {"data/webui.db"},
    Component.VECTORS: {"data/vector_db/note"},
    Component.UPLOADS: {"data/uploads/*_note.txt"},
    Component.GENERATED_IMAGES: {"data/cache/image/generations/a.png"},
    Component.PLUGIN_FILES: {"data/cache/functions/f.py"},
    Component.LEGACY: {"data/config.json"},
    Component.OTHER: {"data/something"},
    Component.SECRET_KEY: {"outside/webui_secret_key"},
    Component.CONFIGURATION: {"outside/vault.yaml"},
}


def test_each_component_is_in_the_snapshot(house: House) -> None:
    assert house.taken.manifest
    assert {record.name for record in house.taken.manifest.components} == set(ALONE)


@pytest.mark.parametrize("component", list(ALONE), ids=lambda each: each.value)
def test_each_component_comes_alone(house: House, component: Component) -> None:
    report = house.restore(components=[component])
    files = [path for path in house.target.rglob("*") if path.is_file() and path.parent != house.target]
    assert len(files) == len(ALONE[component])
    assert all(path.relative_to(house.target).match(next(iter(ALONE[component]))) for path in files)
    assert report.components == (component,)
    assert (report.secret_key is not None) is (component is Component.SECRET_KEY)
    assert bool(report.app_data_dir) is (component is Component.DATABASE)


def test_a_component_that_is_not_held_is_named(house: House) -> None:
    with pytest.raises(TargetError, match="holds no audit_log") as caught:
        house.restore(components=[Component.AUDIT_LOG])
    assert "database" in caught.value.hint
    assert not house.target.exists()


def test_a_folder_is_one_path_whatever_lies_beside_it() -> None:
    paths = [f"data/uploads/{number}" for number in range(1000)]
    paths += ["data", "data/uploads", "data/uploads.bak", "data/uploads.bak/x", "data/uploads-old", "data/webui.db"]
    assert paths_of([Component.UPLOADS], iter(paths)) == ["data/uploads"]
    both = paths_of([Component.OTHER, Component.UPLOADS], iter(paths))
    assert sorted(both) == ["data/uploads", "data/uploads-old", "data/uploads.bak"]


def test_entries_of_the_engine_are_enough_for_that(house: House) -> None:
    (stored,) = house.vault.snapshots()
    entries: Iterator[Entry] = house.engine.contents(stored.engine_id, Call(folder=house.folder))
    assert paths_of([Component.DATABASE], (each.path for each in entries)) == ["data/webui.db"]


def test_a_snapshot_that_does_not_say_whose_its_files_were_says_that(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the first versions; where the manifest says it, what came back is compared."""
    assert not [
        each
        for each in house.vault.restore("latest", house.folder / "same").warnings
        if "record its files' owners" in each
    ]
    monkeypatch.setattr(describing, "attribute_records", lambda _: ())
    house.vault.snapshot()
    (told,) = [each for each in house.restore().warnings if "record its files' owners" in each]
    assert (
        told
        == "the snapshot does not record its files' owners: check whether the application can use the restored files"
    )


@pytest.mark.root
def test_whoever_owns_the_data_gets_through_to_them_and_nobody_else(house: House) -> None:
    for path in (house.data_dir, *house.data_dir.rglob("*")):
        os.chown(path, 4242, 4343)
    house.vault.snapshot()
    house.folder.chmod(0o755)
    for folder in (house.folder, *house.folder.parents):
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001 and folder != Path("/tmp"):
            folder.chmod(0o711)
    report = house.restore()
    read = [sys.executable, "-c", "import sys; open(sys.argv[1], 'rb').read(1)"]
    reads = {
        "data/webui.db": {(4242, 4343): 0, (65534, 65534): 1},
        "outside/webui_secret_key": {(4242, 4343): 1, (65534, 65534): 1},
    }
    for name, expected in reads.items():
        for (user, group), status in expected.items():
            done = subprocess.run(
                [*read, str(house.target / name)], user=user, group=group, extra_groups=[], check=False, stderr=-3
            )
            assert done.returncode == status, (name, user)
    assert stat.S_IMODE(report.target.stat().st_mode) == 0o710


def test_a_target_that_was_there_keeps_its_mode(house: House) -> None:
    house.target.mkdir(mode=0o750)
    house.target.chmod(0o750)
    house.restore()
    assert stat.S_IMODE(house.target.stat().st_mode) == 0o750


def test_targets_among_the_live_data_and_in_a_repository(house: House) -> None:
    """Also where `uploads` or `vector_db` leads: that is as live as the rest."""
    for name in ("uploads", "vector_db"):
        (house.data_dir / name).rename(house.folder / f"real-{name}")
        (house.data_dir / name).symlink_to(house.folder / f"real-{name}")
    before = state_of_small_instance(house.data_dir)
    targets = [house.folder / f"real-{name}" / "below" for name in ("uploads", "vector_db")]
    targets += [house.folder / "repository" / "below", house.data_dir / "below"]
    (house.folder / "way").symlink_to(house.folder / "repository")
    targets.append(house.folder / "way" / "below" / "deep")
    for target in targets:
        with pytest.raises(TargetError, match="is inside") as caught:
            house.vault.restore("latest", target)
        assert caught.value.hint
        assert not target.exists()
    assert state_of_small_instance(house.data_dir) == before


def test_a_target_that_cannot_be_made_is_refused_before_anything_is_fetched(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (house.folder / "file").write_text("mine")
    (house.folder / "circle").symlink_to(house.folder / "circle")
    monkeypatch.setattr(DirectoryEngine, "fetch", fail(AssertionError("fetched")))
    for target in ("file/below", "x" * 300, "circle/below", "deep/" + "y" * 300, "a\0b"):
        with pytest.raises(TargetError) as caught:
            house.vault.restore("latest", house.folder / target)
        assert caught.value.hint
    assert not (house.folder / "deep").exists()


@pytest.mark.root
def test_a_target_below_a_folder_of_somebody_else(house: House) -> None:
    """Looked at by another user, whom the mode of the folder stops."""
    locked = house.folder / "locked"
    locked.mkdir(mode=0o755)
    script = (
        "import os, sys; from pathlib import Path; from owui_vault import TargetError, Vault\n"
        "from owui_vault.context.context import OperationContext; from owui_vault.context.state import StateDirectory\n"
        "from owui_vault.operations.restore.target import usable_target\n"
        "context = OperationContext(instance=None, repositories=(), state=StateDirectory(Path(sys.argv[2])))\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: usable_target(context, Path(sys.argv[1]))\n"
        "except TargetError as error: print(error.message)\n"
    )
    for folder in (house.folder, *house.folder.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    command = [sys.executable, "-c", script, str(locked / "copy"), str(house.folder / "s")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(Path.cwd())})
    assert done.stdout == f"{locked / 'copy'} cannot be written to: Permission denied\n"


def test_dots_in_the_target_do_not_get_into_the_database(house: House) -> None:
    (house.folder / "sub").mkdir()
    house.target = house.folder / "copy"
    report = house.vault.restore("latest", house.folder / "sub" / ".." / "copy")
    assert report.target == house.target
    assert house.rows()[0].startswith(f"{house.target}/data/uploads/")


def test_what_a_failed_restore_left_is_named_with_the_command_that_removes_it(house: House) -> None:
    with pytest.raises(CancelledError), claimed(house.target):
        raise CancelledError("stopped on request")
    with pytest.raises(TargetError, match="RESTORE-INCOMPLETE in it says why") as caught:
        house.vault.restore("latest", house.target)
    assert f"`rm -r {house.target}`" in caught.value.hint


def test_of_two_restores_into_one_target_one_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both had found it empty."""
    house.target.mkdir()
    with claimed(house.target):
        with pytest.raises(TargetError, match="is running, or was killed"), claimed(house.target):
            raise AssertionError("claimed twice")
        monkeypatch.setattr(
            "owui_vault.operations.restore.target._is_empty", lambda _target: True
        )  # it looks a moment too early
        with pytest.raises(TargetError, match="another restore into"), claimed(house.target):
            raise AssertionError("claimed twice")
        assert "is running" in (house.target / MARKER).read_text()
    assert not (house.target / MARKER).exists()


def test_a_marker_that_vanished_while_it_was_fetched_is_not_taken_for_success(house: House) -> None:
    """Only we take it away. Who did it, and what else is missing, nobody knows."""
    house.engine.during = lambda target: (target / MARKER).unlink()
    with pytest.raises(ContentMismatchError, match=MARKER):
        house.restore()
    assert "did not succeed" in (house.target / MARKER).read_text()


def test_where_the_reason_cannot_be_written_the_target_still_says_that_it_is_not_whole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended the restore is told, and not that its reason could not be noted."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def fill_up(_target: Path) -> None:
        monkeypatch.setattr(os, "fchmod", refuse)
        raise NoSpaceError("no space is left")

    house.engine.during = fill_up
    with pytest.raises(NoSpaceError, match="no space is left"):
        house.restore()
    assert "is running, or was killed" in (house.target / MARKER).read_text()
    assert not list(house.target.glob(".owui-vault-*"))


def test_a_container_that_is_gone_keeps_nobody_from_restoring_elsewhere(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is when a restore is needed most."""

    def gone(*_: object) -> None:
        raise InstanceNotFoundError("there is no container open-webui")

    monkeypatch.setattr(container, "find_container", gone)
    repository = Repository("nas", house.engine)
    vault = Vault(Container("open-webui"), [repository], state_dir=house.folder / "elsewhere", environ={})
    report = vault.restore("latest", house.target)
    assert report.snapshot.id == house.taken.id
    assert state_of_small_instance(report.data_dir) == state_of_small_instance(house.data_dir)
