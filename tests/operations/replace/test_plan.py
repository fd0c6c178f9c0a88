"""What a plan to restore in place sees and says before anything is stopped, and what becomes of paths and keys."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from owui_vault import (
    Call,
    Component,
    ContentMismatchError,
    DataDirectory,
    Deadline,
    InstanceNotFoundError,
    InstanceState,
    Quiesce,
    QuiesceError,
    Repository,
    RepositoryDamagedError,
    RestoreError,
    ResumeError,
    RollbackError,
    Secret,
    StalePlanError,
    TargetError,
    Vault,
    WrongInstanceError,
)
from owui_vault.instance import runner, runtime
from owui_vault.instance.processes import Holders
from owui_vault.model import Event
from owui_vault.operations.replace import cutover, rename_check
from owui_vault.operations.replace import plan as replacement
from owui_vault.ports import Observation
from owui_vault.system.work_folder import WorkFolder
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.fakes import FakeInstance, FakeQuiescer
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.operations.house import FakeApplication, House, Houses


@pytest.fixture
def house(houses: Houses) -> House:
    return houses.one()


def change(data_dir: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        connection.execute(statement, values)
        connection.commit()


def folders_of_uploads(data_dir: Path) -> set[str]:
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        return {path.rpartition("/uploads/")[0] for (path,) in connection.execute("SELECT path FROM file")}


def rename_rows(data_dir: Path, folder: str) -> None:
    change(data_dir, "UPDATE file SET path = ? || substr(path, instr(path, '/uploads/'))", folder)


class TestPaths:
    """The rows of restored uploads name the directory as the application sees it, or every download fails."""

    def test_a_directory_that_a_container_sees_elsewhere_keeps_its_name_there(self, house: House) -> None:
        rename_rows(house.data_dir, "/app/backend/data")
        vault = house.vault
        vault.snapshot()
        use_small_instance(house.data_dir, "later still")
        rename_rows(house.data_dir, "/app/backend/data")
        vault.replace(vault.plan_replacement("latest"))
        assert folders_of_uploads(house.data_dir) == {"/app/backend/data"}

    def test_also_where_the_directory_is_empty_now(self, house: House) -> None:
        rename_rows(house.data_dir, "/app/backend/data")
        house.vault.snapshot()
        house.quiescer.instance.set(InstanceState.STOPPED)
        shutil.rmtree(house.data_dir)
        house.data_dir.mkdir()
        house.vault.replace(house.vault.plan_replacement("latest"))
        assert folders_of_uploads(house.data_dir) == {"/app/backend/data"}

    def test_the_name_it_has_now_wins_over_the_one_it_had(self, house: House) -> None:
        rename_rows(house.data_dir, "/app/backend/data")
        house.vault.snapshot()
        rename_rows(house.data_dir, "/srv/elsewhere")
        house.vault.replace(house.vault.plan_replacement("latest"))
        assert folders_of_uploads(house.data_dir) == {"/srv/elsewhere"}

    def test_a_relative_name_stays_as_it_is(self, house: House) -> None:
        rename_rows(house.data_dir, "data")
        house.vault.snapshot()
        plan = house.vault.plan_replacement("latest")
        house.vault.replace(plan)
        assert folders_of_uploads(house.data_dir) == {"data"}

    def test_a_running_process_is_believed_before_the_rows(self, house: House) -> None:
        house.vault.snapshot()
        environment = {"DATA_DIR": "/where/the/process/sees/it"}
        with (
            (house.data_dir / "webui.db").open("rb") as opened,
            subprocess.Popen(["/bin/sleep", "60"], stdin=opened, env=environment) as process,
        ):
            plan = house.vault.plan_replacement("latest")
            process.kill()
        assert plan.app_data_dir == "/where/the/process/sees/it"

    def test_a_relative_setting_of_a_running_process_is_no_mistake(self, house: House) -> None:
        with (
            (house.data_dir / "webui.db").open("rb") as opened,
            subprocess.Popen(["/bin/sleep", "60"], stdin=opened, env={"DATA_DIR": "./data"}) as process,
        ):
            plan = house.vault.plan_replacement("latest")
            process.kill()
        house.vault.replace(plan)
        assert folders_of_uploads(house.data_dir) == {str(house.data_dir)}


class TestWhatIsThere:
    """The database lost, the disk new, another instance's data: the plan knows what it would take the place of."""

    @pytest.mark.parametrize("content", [None, b"", b"not a database", b"SQLite format 3\0" + bytes(100)])
    def test_a_lost_or_ruined_database_is_what_snapshots_are_for(self, house: House, content: bytes | None) -> None:
        database = house.data_dir / "webui.db"
        database.unlink()
        if content is not None:
            database.write_bytes(content)
        plan = house.vault.plan_replacement("latest")
        assert any("damaged" in warning or "no webui.db" in warning for warning in plan.warnings)
        report = house.vault.replace(plan)
        assert house.state() == house.earlier
        kept = report.aside.path / "parts/webui.db"
        assert (kept.read_bytes() if kept.exists() else None) == content

    def test_an_empty_directory_takes_a_snapshot_in_place(self, house: House) -> None:
        house.quiescer.instance.set(InstanceState.STOPPED)
        shutil.rmtree(house.data_dir)
        house.data_dir.mkdir()
        plan = house.vault.plan_replacement("latest")
        assert any("mounted" in warning for warning in plan.warnings)
        house.vault.replace(plan)
        assert house.state() == house.earlier
        with pytest.raises(RestoreError, match="anything that could be restored"):
            house.vault.undo()
        assert house.state() == house.earlier

    def test_a_directory_of_something_else_is_refused(self, house: House, tmp_path: Path) -> None:
        other = tmp_path / "photos"
        other.mkdir()
        (other / "holiday.jpg").write_text("dear")
        with pytest.raises(InstanceNotFoundError, match="not a data directory"):
            house.vault_at(other).plan_replacement("latest")
        with closing(sqlite3.connect(other / "webui.db")) as connection:
            connection.execute("CREATE TABLE photo (id)")
        with pytest.raises(InstanceNotFoundError, match="not Open WebUI's"):
            house.vault_at(other).plan_replacement("latest")

    def test_what_is_missing_is_said_together_with_how_to_have_it_back(self, house: House) -> None:
        (house.data_dir / "webui.db").unlink()
        with pytest.raises(InstanceNotFoundError) as caught:
            house.vault.snapshot()
        assert "--in-place" in caught.value.hint
        assert "--target" in caught.value.hint

    def test_another_instances_data_are_not_replaced_unless_it_was_adopted(self, house: House) -> None:
        shutil.rmtree(house.data_dir)
        make_small_instance(house.data_dir)
        change(house.data_dir, "UPDATE user SET id = 'somebody else'")
        use_small_instance(house.data_dir, "of somebody else")
        theirs = house.state()
        with pytest.raises(WrongInstanceError) as caught:
            house.vault.plan_replacement("latest")
        assert "init --adopt" in caught.value.hint
        assert "--target" in caught.value.hint
        assert house.state() == theirs
        house.vault.initialize(adopt=True)
        house.vault.replace(house.vault.plan_replacement("latest"))
        assert house.state() == house.earlier

    def test_a_plan_for_another_directory_is_stale(self, house: House, tmp_path: Path) -> None:
        plan = house.vault.plan_replacement("latest")
        elsewhere = tmp_path / "elsewhere"
        shutil.copytree(house.data_dir, elsewhere)
        with pytest.raises(StalePlanError, match="elsewhere"):
            house.vault_at(elsewhere).replace(plan)
        with pytest.raises(StalePlanError):
            house.vault.replace(replace(plan, data_dir=elsewhere))
        assert house.state() == house.later

    def test_an_application_that_was_exchanged_since_the_plan_is_asked_again(self, house: House) -> None:
        plan = house.vault.plan_replacement("latest")
        house.application.known = frozenset({"bbbbbbbbbbbb"})
        with pytest.raises(RestoreError, match="does not know"):
            house.vault.replace(plan)
        assert house.state() == house.later

    def test_an_older_schema_is_told(self, house: House) -> None:
        assert not [each for each in house.vault.plan_replacement("latest").warnings if "migrate" in each]
        change(house.data_dir, "UPDATE alembic_version SET version_num = 'bbbbbbbbbbbb'")
        house.application.known = frozenset({"aaaaaaaaaaaa", "bbbbbbbbbbbb"})
        (warning,) = [each for each in house.vault.plan_replacement("latest").warnings if "migrate" in each]
        assert "aaaaaaaaaaaa" in warning
        assert "bbbbbbbbbbbb" in warning
        only_uploads = house.vault.plan_replacement("latest", components=[Component.UPLOADS])
        assert not [each for each in only_uploads.warnings if "migrate" in each]

    def test_a_plan_of_no_component_fetches_and_exchanges_nothing(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """To an engine no path at all means every path."""
        fetched: list[object] = []
        plan = house.vault.plan_replacement("latest", components=[])
        monkeypatch.setattr(DirectoryEngine, "fetch", lambda *given, **_: fetched.append(given))
        assert (plan.parts, plan.needed_bytes) == ((), 256 << 20)
        house.vault.replace(plan)
        assert fetched == []
        assert house.state() == house.later
        assert house.runs()


class TestRenames:
    """What cannot be exchanged by renames is known before anything is stopped."""

    def starts(self, house: House) -> int:
        return house.quiescer.instance.read().starts

    @pytest.fixture
    def other_disk(self) -> Path:
        shared = Path("/dev/shm")
        if not shared.is_dir() or shared.stat().st_dev == Path("/tmp").stat().st_dev:
            pytest.skip("this machine has one file system only")  # a container without a shared memory
        folder = shared / f"owui-vault-{os.getpid()}"
        folder.mkdir()
        return folder

    def test_a_cache_on_another_disk(self, house: House, other_disk: Path) -> None:
        try:
            (other_disk / "functions").mkdir()
            (other_disk / "functions/one.py").write_text("later")
            (house.data_dir / "cache").symlink_to(other_disk)
            with pytest.raises(RestoreError, match="another file system") as caught:
                house.vault.plan_replacement("latest")
            assert "--target" in caught.value.hint
            plan = house.vault.plan_replacement("latest", components=[Component.DATABASE, Component.UPLOADS])
            house.vault.replace(plan)
            assert house.state() == house.earlier
        finally:
            shutil.rmtree(other_disk)

    def test_what_comes_to_another_disk_is_seen_once_it_is_there(self, house: House, other_disk: Path) -> None:
        try:
            (house.data_dir / "cache/functions").mkdir(parents=True)
            (house.data_dir / "cache/functions/one.py").write_text("print()")
            house.vault.snapshot()
            shutil.rmtree(house.data_dir / "cache")
            (house.data_dir / "cache").symlink_to(other_disk)
            plan = house.vault.plan_replacement("latest")
            starts = self.starts(house)
            with pytest.raises(RestoreError, match="another file system"):
                house.vault.replace(plan)
            assert self.starts(house) == starts
            assert house.state() == house.later
        finally:
            shutil.rmtree(other_disk)

    @pytest.mark.parametrize("place", ["uploads", "vector_db/deep below"])
    def test_a_mount_below(self, house: House, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        mounts = (Path("/"), house.data_dir / place)
        monkeypatch.setattr(rename_check, "mount_points", lambda: mounts)
        with pytest.raises(RestoreError, match="is a mount point"):
            house.vault.plan_replacement("latest")

    def test_what_lay_in_a_folder_that_is_gone_comes_back_with_the_folder(self, house: House) -> None:
        functions = house.data_dir / "cache/functions"
        functions.mkdir(parents=True)
        (functions / "one.py").write_text("print()")
        house.vault.snapshot()
        shutil.rmtree(house.data_dir / "cache")
        house.vault.replace(house.vault.plan_replacement("latest"))
        assert (functions / "one.py").read_text() == "print()"
        house.vault.undo()
        assert not functions.exists()

    def test_a_part_that_is_a_link_is_told_with_where_the_data_will_lie(self, house: House, tmp_path: Path) -> None:
        elsewhere = (house.data_dir / "uploads").rename(tmp_path / "uploads elsewhere")
        (house.data_dir / "uploads").symlink_to(elsewhere)
        before = sorted(path.name for path in elsewhere.iterdir())
        plan = house.vault.plan_replacement("latest")
        (warning,) = [each for each in plan.warnings if "is a link to" in each]
        assert f"uploads is a link to {elsewhere}" in warning
        house.vault.replace(plan)
        assert not (house.data_dir / "uploads").is_symlink()
        assert house.state() == house.earlier
        assert sorted(path.name for path in elsewhere.iterdir()) == before

    def test_a_disk_without_room_for_both_is_known_before(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(replacement, "free_bytes", lambda _: 200_000_000)
        with pytest.raises(TargetError, match="but only 200 MB are free") as caught:
            house.vault.plan_replacement("latest")
        assert "until `discard`" in caught.value.hint

    def test_a_bind_mount_of_the_same_disk(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        (house.data_dir / "cache/functions").mkdir(parents=True)
        mounts = (Path("/"), house.data_dir / "cache")
        monkeypatch.setattr(rename_check, "mount_points", lambda: mounts)
        with pytest.raises(RestoreError, match="is on another file system"):
            house.vault.plan_replacement("latest")


class TestWhoRuns:
    def test_where_nobody_can_see_whether_it_runs_nothing_is_planned(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Processes of others may have the data open, and nobody here could stop them."""
        monkeypatch.setattr(runtime, "find_holders", lambda _: Holders(hidden=3))
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(RestoreError, match="3 processes of other users") as caught:
            house.vault_at(house.data_dir).plan_replacement("latest")
        assert "root" in caught.value.hint
        assert house.vault.plan_replacement("latest").stops == "fake instance"

    def test_a_process_beside_a_stopped_instance_is_seen(self, house: House) -> None:
        house.quiescer.instance.set(InstanceState.STOPPED)
        plan = house.vault.plan_replacement("latest")
        with (
            (house.data_dir / "webui.db").open("rb") as opened,
            subprocess.Popen(["sleep", "60"], stdin=opened) as process,
        ):
            for deed in (lambda: house.vault.plan_replacement("latest"), lambda: house.vault.replace(plan)):
                with pytest.raises(RestoreError, match=r"sleep .* is stopped"):
                    deed()
            process.kill()
        assert house.state() == house.later

    def test_one_that_comes_between_the_look_and_the_deed_as_well(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        house.quiescer.instance.set(InstanceState.STOPPED)
        plan = house.vault.plan_replacement("latest")
        asked: list[object] = []

        def somebody(place: object, *_: object) -> None:
            asked.append(place)
            raise RestoreError("somebody")

        monkeypatch.setattr(cutover, "require_databases_closed", somebody)
        with pytest.raises(RestoreError, match="somebody"):
            house.vault.replace(plan)
        assert len(asked) == 1
        assert house.state() == house.later

    def test_what_cannot_be_asked_is_watched_for_a_while(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runner, "_WATCH_SECONDS", 0.6)
        house.application.says = ""
        report = house.vault.replace(house.vault.plan_replacement("latest"))
        assert "not asked" in report.health
        assert house.state() == house.earlier

    @pytest.mark.parametrize("again", [True, False])
    def test_what_goes_down_soon_after_its_start_is_led_back(
        self, house: House, monkeypatch: pytest.MonkeyPatch, *, again: bool
    ) -> None:
        """Also when something starts it anew each time, too fast to be seen."""
        monkeypatch.setattr(runner, "_WATCH_SECONDS", 2.0)
        house.application.says = ""
        house.quiescer = Failing(house.folder, again=again)
        vault = house.a_vault()
        with pytest.raises(RestoreError, match="went down again"):
            vault.replace(vault.plan_replacement("latest"))
        assert house.state() == house.later
        assert house.runs()

    @pytest.mark.parametrize("says", ["answers", ""])
    def test_an_engine_that_does_not_answer_for_a_moment_leads_nothing_back(
        self, house: House, monkeypatch: pytest.MonkeyPatch, says: str
    ) -> None:
        """Whoever is asked whether it runs: what does not answer says nothing about what was started."""
        monkeypatch.setattr(runner, "_WATCH_SECONDS", 1.2)
        monkeypatch.setattr(runner, "_DOWN_SECONDS", 0.5)
        house.application.says = says
        house.quiescer = Hiccups(house.folder)
        vault = house.a_vault()
        vault.replace(vault.plan_replacement("latest"))
        assert house.state() == house.earlier
        assert house.quiescer.silent >= 1

    @pytest.mark.parametrize("comes_up", [True, False])
    def test_what_takes_its_time_to_be_well_is_waited_for_while_it_runs(
        self, house: House, monkeypatch: pytest.MonkeyPatch, comes_up: bool
    ) -> None:
        monkeypatch.setattr(runner, "_TURN_SECONDS", 0.1)
        house.application = Slow(house.quiescer.instance, turns=3, comes_up=comes_up)
        vault = house.a_vault()
        if comes_up:
            vault.replace(vault.plan_replacement("latest"))
            assert house.state() == house.earlier
        else:
            with pytest.raises(RestoreError, match="not yet"):
                vault.replace(vault.plan_replacement("latest"))
            assert house.state() == house.later


class Hiccups(FakeQuiescer):
    """After a start its engine does not answer at the first look."""

    hiccups = silent = 0

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        super().resume(mode, deadline)
        self.hiccups = 1
        time.sleep(0.6)  # by now it may be looked at, to see whether it is down
        deadline.passed()

    def observe(self) -> Observation:
        if self.hiccups:
            self.hiccups = 0
            self.silent += 1
            raise QuiesceError("the engine does not answer")
        return super().observe()


class Slow(FakeApplication):
    """One that is not well at first; if it never `comes_up`, it goes down meanwhile."""

    def __init__(self, instance: FakeInstance, *, turns: int, comes_up: bool) -> None:
        super().__init__()
        self.instance, self.turns, self.comes_up = instance, turns, comes_up

    def wait_until_healthy(self, deadline: Deadline) -> str:
        if self.turns == 0:
            return "answers"
        self.turns -= 1
        if self.turns == 0 and not self.comes_up:
            self.instance.set(InstanceState.STOPPED)
        while not deadline.passed():
            time.sleep(0.01)
        raise ResumeError("not yet")


class Failing(FakeQuiescer):
    """Its first start fails a moment later."""

    def __init__(self, folder: Path, *, again: bool) -> None:
        super().__init__(folder)
        self.again = again
        self.looks = -1

    def resume(self, mode: Quiesce, deadline: Deadline) -> None:
        super().resume(mode, deadline)
        self.looks = max(self.looks, 0)

    def observe(self) -> Observation:
        if self.looks >= 0:
            self.looks += 1
        if self.looks == 3:  # after those of the wait for its health, and the first one of the watch
            self.instance.set(InstanceState.STOPPED)
            if self.again:
                self.instance.set(InstanceState.RUNNING)
        return super().observe()


def test_a_plan_says_that_its_snapshot_is_not_from_the_first_repository(house: House) -> None:
    empty = Repository("empty", DirectoryEngine(house.folder / "empty", Secret("x")))
    full = Repository("one", DirectoryEngine(house.folder / "repository", Secret("x")))
    vault = Vault(
        DataDirectory(house.data_dir),
        [empty, full],
        quiescer=house.quiescer,
        application=house.application,
        state_dir=house.folder / "state",
    )
    vault.initialize("empty")
    assert "repository 'empty' was skipped" in vault.plan_replacement("latest").warnings[0]
    assert not [each for each in vault.plan_replacement(house.snapshot).warnings if "was skipped" in each]


@dataclass
class Listener:
    heard: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        self.heard.append(event)


@pytest.mark.parametrize(("failures", "error"), [(1, RestoreError), (2, RollbackError)])
def test_whoever_wants_to_hear_hears_of_a_failure(house: House, failures: int, error: type[Exception]) -> None:
    listener = Listener()
    vault = house.vault_at(house.data_dir, house.quiescer, notifiers=(listener,))
    house.application.failures = failures
    with pytest.raises(error):
        vault.replace(vault.plan_replacement("latest"))
    (event,) = listener.heard
    assert (event.operation, event.kind) == ("replace", "failure")
    assert "did not come up" in event.detail


def test_whoever_wants_to_hear_hears_of_an_undo_that_fails(house: House) -> None:
    listener = Listener()
    vault = house.vault_at(house.data_dir, house.quiescer, notifiers=(listener,))
    vault.replace(vault.plan_replacement("latest"))
    house.application.failures = 1
    with pytest.raises(RestoreError):
        vault.undo()
    assert [(each.operation, each.kind) for each in listener.heard] == [("replace", "success"), ("undo", "failure")]
    assert house.state() == house.earlier


class TestSecretKey:
    """The key in a file beside the data goes with them; whatever else holds it is the operator's."""

    @pytest.fixture
    def key_file(self, house: House) -> Path:
        path = house.folder / ".webui_secret_key"
        path.write_text("then")
        path.chmod(0o640)
        house.vault.snapshot()
        path.write_text("now")
        return path

    def test_it_is_put_back_and_todays_is_kept(self, house: House, key_file: Path) -> None:
        plan = house.vault.plan_replacement("latest")
        assert plan.key_file == str(key_file)
        (warning,) = [each for each in plan.warnings if "secret key" in each]
        assert "then" not in warning
        report = house.vault.replace(plan)
        assert key_file.read_text() == "then"
        assert key_file.stat().st_mode & 0o777 == 0o640
        kept = report.aside.path / "webui_secret_key"
        assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("now", 0o600)
        house.vault.undo()
        assert key_file.read_text() == "now"
        house.vault.undo()
        assert key_file.read_text() == "then"

    def test_it_comes_back_with_the_data_when_the_application_does_not_come_up(
        self, house: House, key_file: Path
    ) -> None:
        house.application.failures = 1
        with pytest.raises(RestoreError):
            house.vault.replace(house.vault.plan_replacement("latest"))
        assert key_file.read_text() == "now"
        assert not (house.data_dir / ".owui-vault").exists()

    def test_a_file_that_is_another_s_by_now_is_left_alone(self, house: House, key_file: Path) -> None:
        house.vault.replace(house.vault.plan_replacement("latest"))
        key_file.write_text("of another instance")
        kept = house.vault.undo().restored
        assert house.state() == house.later
        assert key_file.read_text() == "of another instance"
        assert (kept.path / "webui_secret_key").read_text() == "now"

    def test_a_part_alone_does_not_change_it(self, house: House, key_file: Path) -> None:
        plan = house.vault.plan_replacement("latest", components=[Component.UPLOADS])
        house.vault.replace(plan)
        assert key_file.read_text() == "now"

    def test_one_in_the_environment_is_told_with_what_to_do(self, house: House, key_file: Path) -> None:
        key_file.unlink()
        environment = {"WEBUI_SECRET_KEY": "now"}
        with (
            (house.data_dir / "webui.db").open("rb") as opened,
            subprocess.Popen(["/bin/sleep", "60"], stdin=opened, env=environment) as process,
        ):
            plan = house.vault.plan_replacement("latest")
            process.kill()
        assert plan.key_file == ""
        (warning,) = [each for each in plan.warnings if "secret key" in each]
        assert "--component secret_key" in warning

    def test_a_key_that_does_not_come_back_touches_nothing(self, house: House, key_file: Path) -> None:
        """The same snapshot, stored by somebody who left the key out."""
        plan = house.vault.plan_replacement("latest")
        tree = house.vault.restore("latest", house.folder / "tree", app_data_dir=str(house.data_dir)).target
        (tree / "outside/webui_secret_key").unlink()
        engine, call = DirectoryEngine(house.folder / "repository", Secret("x")), Call(folder=house.folder)
        assert plan.snapshot.label
        engine.remove([plan.snapshot.engine_id], call)
        engine.store(tree, plan.snapshot.label, call)
        starts = house.quiescer.instance.read().starts
        with pytest.raises(ContentMismatchError, match="secret key was not restored"):
            house.vault.replace(plan)
        assert key_file.read_text() == "now"
        assert house.state() == house.later
        assert house.quiescer.instance.read().starts == starts
        assert not (house.data_dir / ".owui-vault").exists()


class TestOwners:
    """The user of the application may have another number here than where the snapshot was taken."""

    @pytest.mark.root
    def test_what_comes_back_belongs_to_whom_todays_data_belong(self, house: House) -> None:
        """And what was somebody else's then stays that one's."""
        theirs = house.data_dir / "uploads/of somebody else"
        theirs.write_text("x")
        os.chown(theirs, 4321, 4321)
        house.vault.snapshot()
        for path in house.data_dir.rglob("*"):
            os.chown(path, 1234, 1235)
        house.vault.replace(house.vault.plan_replacement("latest"))
        owners = {
            str(path.relative_to(house.data_dir)): (path.stat().st_uid, path.stat().st_gid)
            for path in (house.data_dir / "webui.db", theirs.parent, *theirs.parent.iterdir())
        }
        assert owners.pop("uploads/of somebody else") == (4321, 4321)
        assert set(owners.values()) == {(1234, 1235)}
        assert len(owners) >= 3

    def test_somebody_who_is_not_root_gives_nothing_away(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr(os, "lchown", refuse)
        house.vault.replace(house.vault.plan_replacement("latest"))
        assert house.state() == house.earlier


def test_what_was_staged_and_cannot_be_removed_hides_no_error(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was changed; the next run removes it."""

    remove = WorkFolder.remove

    def refuse(folder: WorkFolder, name: str) -> None:
        if name == "incoming" and folder.has(name):
            raise OSError(5, "Input/output error")
        remove(folder, name)

    plan = house.vault.plan_replacement("latest")
    for path in (house.folder / "repository/objects").iterdir():
        path.write_bytes(b"damaged")
    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "remove", refuse)
        with pytest.raises(RepositoryDamagedError):
            house.vault.replace(plan)
    assert "could not be removed" in caplog.text
    assert house.state() == house.later
    assert house.vault.recover().actions == (
        "removed the staged data of an in-place restore that was never carried out",
    )


def deeds(house: House) -> tuple[Callable[[], object], ...]:
    return (house.vault.recover, house.vault.snapshot, house.vault.undo, lambda: house.vault.plan_replacement("latest"))


def test_a_description_that_makes_no_sense_stops_everything_with_words(house: House) -> None:
    work = house.data_dir / ".owui-vault"
    work.mkdir()
    (work / "swap.json").write_text("{")
    for deed in deeds(house):
        with pytest.raises(RollbackError, match="cannot be read") as caught:
            deed()
        assert "by hand" in caught.value.hint
    assert house.state() == house.later


def test_what_lies_aside_without_a_description_is_not_put_back(house: House) -> None:
    report = house.vault.replace(house.vault.plan_replacement("latest"))
    (report.aside.path / "swap.json").write_text("{")
    with pytest.raises(RestoreError, match="has no description"):
        house.vault.undo()
    assert house.state() == house.earlier


def test_an_instance_that_does_not_start_again_is_exit_4(house: House) -> None:
    house.quiescer.failures["resume"] = 10
    with pytest.raises(ResumeError) as caught:
        house.vault.replace(house.vault.plan_replacement("latest"))
    assert caught.value.exit_code == 4
