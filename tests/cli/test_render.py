"""Reports in plain English."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from owui_vault.cli.commands.init import Initialize
from owui_vault.cli.render import pruning, reports, snapshots, verification
from owui_vault.cli.render.progress import shown
from owui_vault.cli.render.screen import Screen, print_error, print_json
from owui_vault.errors import EngineError, RepositoryFullError, VaultError
from owui_vault.model import (
    Component,
    ComponentSize,
    FullCheck,
    InitializeReport,
    InitializeResult,
    InstanceReport,
    Kept,
    LeftOut,
    Manifest,
    OllamaModel,
    Outcome,
    Progress,
    Proof,
    ProofRecord,
    Providers,
    PrunePlan,
    PruneReport,
    PruneResult,
    RecoverReport,
    RepositoryInfo,
    RepositoryPrune,
    RepositoryResult,
    RestoreReport,
    RetentionPolicy,
    SecretKeyRecord,
    Snapshot,
    SnapshotReport,
    SqliteLibrary,
    Step,
    VerifiedPart,
    VerifyDepth,
    VerifyReport,
)

EVIL = "evil[bold]\x1b[2J\nname\udcff"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def paper() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def screen(paper: io.StringIO) -> Screen:
    return Screen(paper)


def test_a_snapshot_says_what_it_is_worth(screen: Screen, paper: io.StringIO, snapshot_report: SnapshotReport) -> None:
    reports.taken(screen, snapshot_report)
    text = paper.getvalue()
    for claim in (
        "snapshot 4e1c0a9f of open-webui taken: COMPLETE",
        "pause: frozen for 52 ms (2 attempts)",
        "nas: stored, 31.0 MB added, 5.1 MB read",
        "Warnings\n  - the secret key was not found",
    ):
        assert claim in text


def test_what_failed_and_what_is_missing_is_said(
    screen: Screen, paper: io.StringIO, snapshot_report: SnapshotReport
) -> None:
    failed = RepositoryResult(repository="far", error=RepositoryFullError("no space left", hint="Free some."))
    reports.taken(
        screen,
        replace(
            snapshot_report,
            outcome=Outcome.INCOMPLETE,
            problems=("uploads/x is missing",),
            proof=ProofRecord(mode=Proof.UNPROVEN, attempts=3),
            repositories=(*snapshot_report.repositories, failed),
        ),
    )
    text = paper.getvalue()
    assert "INCOMPLETE" in text
    assert "not proven (3 attempts)" in text
    assert "far: FAILED: no space left\n    hint: Free some." in text
    assert "Why it is incomplete\n  - uploads/x is missing" in text


def test_what_was_not_stored_is_not_called_taken(
    screen: Screen, paper: io.StringIO, snapshot_report: SnapshotReport
) -> None:
    failed = (RepositoryResult(repository="far", error=RepositoryFullError("no space left", hint="Free some.")),)
    reports.taken(screen, replace(snapshot_report, outcome=Outcome.FAILED, repositories=failed))
    assert "snapshot 4e1c0a9f of open-webui was NOT STORED: every repository failed" in paper.getvalue()
    reports.taken(screen, replace(snapshot_report, id="", outcome=Outcome.FAILED, repositories=failed, manifest=None))
    text = paper.getvalue()
    assert "no snapshot of open-webui was taken: no repository answered" in text
    assert text.count("far: FAILED: no space left\n    hint: Free some.") == 2
    assert "COMPLETE" not in text


def test_no_name_commands_the_terminal(screen: Screen, paper: io.StringIO, snapshot_report: SnapshotReport) -> None:
    evil = replace(snapshot_report, problems=(EVIL,), warnings=(EVIL,))
    reports.taken(screen, evil)
    assert "\x1b[2J" not in paper.getvalue()
    assert paper.getvalue().count("evil[bold]\\x1b[2J\\nname\\udcff") == 2


def test_the_list_is_a_table(screen: Screen, paper: io.StringIO, stored: Snapshot) -> None:
    now = stored.time + timedelta(hours=3)
    foreign = Snapshot(engine_id="f" * 64, name="ffffffff", time=stored.time, repository="nas")
    day = f"{stored.time.astimezone():%Y-%m-%d}"
    verified = replace(stored, verified_at=stored.time)
    snapshots.listed(screen, [verified, foreign], now, everything=True)
    head, first, second = (line.split() for line in paper.getvalue().splitlines())
    assert head == [
        "id",
        "series",
        "instant",
        f"({stored.time.astimezone():%Z})",
        "age",
        "size",
        "outcome",
        "proof",
        "verified",
        "tags",
    ]
    assert first[:2] == ["4e1c0a9f", "open-webui"]
    assert first[4:] == ["3", "h", "9.0", "MB", "complete", "pause", day, "release"]
    assert second[:2] == ["ffffffff", "(foreign)"]
    assert second[-4:] == ["–", "–", "–", "no"]
    deeply = replace(verified, verified_all_at=stored.time)
    earlier = replace(deeply, verified_all_at=stored.time - timedelta(days=9))
    for each in (deeply, earlier):
        snapshots.listed(screen, [each], now, everything=False)
    before = f"{stored.time.astimezone() - timedelta(days=9):%Y-%m-%d}"
    assert f" {day}, all  " in paper.getvalue()
    assert f" {day}, all {before}  " in paper.getvalue()


def test_nothing_is_cut_on_a_narrow_terminal(stored: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    snapshots.listed(Screen(terminal), [stored], stored.time, everything=True)
    for claim in ("4e1c0a9f", "open-webui", f"{stored.time.astimezone():%Y-%m-%d %H:%M:%S}", "complete", "release"):
        assert claim in terminal.getvalue()


def test_what_matters_least_goes_first_on_a_narrow_terminal(stored: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stored.label
    bare = replace(stored, label=replace(stored.label, tags=()))
    for columns, kept in ((200, "proof tags"), (82, "proof"), (78, "size"), (66, "age"), (48, "outcome")):
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal = Terminal()
        snapshots.listed(Screen(terminal), [bare], stored.time, everything=False)
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.getvalue().splitlines()]
        assert all(len(line) <= columns for line in lines), (columns, lines)
        assert set(kept.split()) <= set(lines[0].split()), (columns, lines)
        assert lines[1].startswith("4e1c0a9f  ")


def test_texts_are_wrapped_between_words_with_a_hanging_indent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    text = Screen(terminal)
    words = "one two three four five six seven eight nine ten eleven /a/path/that/is/longer/than/a/line/has/room"
    text.items([words])
    text.pairs([("name", words)])
    text.line(words)
    text.table(("id", "why"), [("4e1c0a9f", words)])
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.getvalue().splitlines()]
    for line in lines:
        assert len(line) <= 40 or line.strip().startswith("/a/path")
        assert set(line.split()) <= {*words.split(), "-", "name", "id", "why", "4e1c0a9f"}
    assert lines[0].startswith("  - one two")
    assert lines[1].startswith("    ")
    (name,) = [number for number, line in enumerate(lines) if line.startswith("  name  one")]
    assert lines[name + 1].startswith(" " * 8)
    (row,) = [number for number, line in enumerate(lines) if line.startswith("4e1c0a9f  one")]
    assert lines[row + 1].startswith(" " * 10)
    assert lines[row + 1][10] != " "


def test_an_error_is_wrapped_on_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    error = VaultError(
        "a b c d e f g h i j k l m n o p q r s t u v w", hint="Do this and that and whatever else helps."
    )
    for stream, longest in ((Terminal(), 40), (io.StringIO(), 60)):
        monkeypatch.setattr("sys.stderr", stream)
        print_error(error, 1, as_json=False)
        lines = stream.getvalue().splitlines()
        assert max(map(len, lines)) <= longest
        assert (len(lines) == 2) is (longest == 60)
    assert " ".join(lines).split() == f"owui-vault: {error.message} hint: {error.hint}".split()


def test_several_repositories_are_named(screen: Screen, paper: io.StringIO, stored: Snapshot) -> None:
    """One row for what is in two of them; what differs is told."""
    assert stored.label
    bad = replace(stored.label, outcome=Outcome.INCOMPLETE)
    other = replace(stored, repository="far", label=replace(stored.label, id="0badcafe"))
    snapshots.listed(screen, [stored, replace(stored, repository="far"), other], stored.time, everything=False)
    heading, both, one = paper.getvalue().splitlines()
    assert heading.split()[1] == "repositories"
    assert both.startswith("4e1c0a9f  nas, far ")
    assert one.startswith("0badcafe  far ")
    snapshots.listed(screen, [stored, replace(stored, repository="far", label=bad)], stored.time, everything=False)
    assert "  incomplete (far)  " in paper.getvalue().splitlines()[-1]


def test_foreign_snapshots_are_each_on_their_own(screen: Screen, paper: io.StringIO, stored: Snapshot) -> None:
    foreign = replace(stored, label=None, name="theirs")
    snapshots.listed(screen, [foreign, replace(foreign, repository="far")], stored.time, everything=True)
    assert [line.split()[:2] for line in paper.getvalue().splitlines()[1:]] == [["theirs", "nas"], ["theirs", "far"]]


def test_an_empty_list_says_what_to_do(screen: Screen, paper: io.StringIO, stored: Snapshot) -> None:
    snapshots.listed(screen, [], stored.time, everything=False)
    snapshots.listed(screen, [], stored.time, everything=True)
    assert paper.getvalue().splitlines() == [
        "no snapshots of this series (--all lists all series) yet; take one: owui-vault snapshot",
        "no snapshots yet; take one: owui-vault snapshot",
    ]


def test_a_manifest_is_told_whole(screen: Screen, paper: io.StringIO, manifest: Manifest) -> None:
    snapshots.manifest(screen, replace(manifest, outcome=Outcome.INCOMPLETE, problems=("torn",)))
    text = paper.getvalue()
    for claim in (
        "snapshot 4e1c0a9f of open-webui: INCOMPLETE",
        "Open WebUI      0.12.4",
        "plan            nightly",
        "numbers         2 users, 31 chats, 8 uploads",
        "pause, 2 attempts, frozen for 52 ms",
        "NOT FOUND, and needed for MFA",
        "webui.db",
        "1 vector collection with 65 vectors, 1 vector lost (-v lists them)",
        "cache: can be made again (1.1 kB)",
        "verify of 0badcafe in nas: right",
        "Why it is incomplete\n  - torn",
    ):
        assert claim in text


def test_of_earlier_checks_the_last_ones_are_told_each_in_its_first_words(
    screen: Screen, paper: io.StringIO, manifest: Manifest
) -> None:
    bad = replace(manifest.ledger[0], ok=False, detail="the repository is damaged: data changed. Check its disk")
    told = replace(manifest, ledger=(*manifest.ledger * 4, bad))
    snapshots.manifest(screen, told)
    assert paper.getvalue().count("verify of 0badcafe in nas: right") == 2
    assert "in nas: the repository is damaged (-v: all of it)\n  and 2 earlier ones (-v lists all)" in paper.getvalue()
    snapshots.manifest(screen, told, everything=True)
    assert "data changed. Check its disk" in paper.getvalue()


def test_collections_are_a_sum_and_the_names_of_knowledge_bases(
    screen: Screen, paper: io.StringIO, manifest: Manifest
) -> None:
    """One for each upload: three thousand lines of ids help nobody."""
    (one,) = manifest.collections
    many = tuple(replace(one, id=str(number), name=f"file-{number}", lost=0) for number in range(3000))
    books = replace(one, id="k", name="0f3c", vectors=1200, lost=0, knowledge="Cook books")
    told = replace(manifest, collections=(*many, books))
    snapshots.manifest(screen, told)
    text = paper.getvalue()
    assert "3,001 vector collections with 196,200 vectors (-v lists them)\nknowledge bases: Cook books (1,200)" in text
    assert "file-17" not in text
    snapshots.manifest(screen, told, everything=True)
    assert "file-17 " in paper.getvalue()
    assert "Cook books " in paper.getvalue()


def test_init_ends_with_what_must_be_kept_elsewhere(screen: Screen, paper: io.StringIO) -> None:
    info = RepositoryInfo(id="3791e8c3", location="/mnt/nas", engine="restic", engine_version="0.18.0")
    result = InitializeResult(repository="nas", info=info, created=True, passphrase_source="file /etc/nas.pass")
    result = replace(result, credentials=("AWS_SECRET_ACCESS_KEY: file /etc/aws.key",))
    again = replace(result, repository="far", created=False)
    reports.initialized(screen, InitializeReport(repositories=(result, again)))
    text = paper.getvalue()
    before, _, kept = text.partition("Keep this somewhere else")
    assert "nas: created\nfar: already exists" in before
    for claim in (
        "/mnt/nas",
        "restic 0.18.0",
        "3791e8c3",
        "file /etc/nas.pass",
        "AWS_SECRET_ACCESS_KEY: file /etc/aws.key",
        "Print",
    ):
        assert claim in kept


def test_init_says_what_it_made_and_what_not(screen: Screen, paper: io.StringIO) -> None:
    info = RepositoryInfo(id="r1", location="/mnt/nas", engine="restic", engine_version="0.14.0")
    made = InitializeResult(repository="near", info=info, created=True, passphrase_source="file x")
    error = RepositoryFullError("no space left", hint="Free some.")
    failed = InitializeResult(repository="far", passphrase_source="file x", error=error)
    reports.initialized(screen, InitializeReport(repositories=(failed, made), warnings=("the file is open",)))
    text = paper.getvalue()
    assert "far: FAILED: no space left\n  hint: Free some.\nnear: created" in text
    assert text.count("repository  ") == 1
    assert "the file is open" in text
    Initialize().show_report(InitializeReport(repositories=(failed, failed)), screen)
    assert paper.getvalue().count("far: FAILED") == 3


def test_an_instance_is_described(screen: Screen, paper: io.StringIO, manifest: Manifest) -> None:
    report = InstanceReport(
        name="open-webui",
        data_dir=Path("/opt/open-webui"),
        fingerprint="",
        application_version="",
        alembic_head="0bd252b206fb",
        journal_modes=(("webui.db", "wal"),),
        components=(
            ComponentSize(name=Component.UPLOADS, included=True, files=8, size_bytes=424_000),
            ComponentSize(name=Component.CACHE, included=False, files=1, size_bytes=5),
            ComponentSize(name=Component.LEGACY, included=True, files=0, size_bytes=0),
        ),
        left_out=(LeftOut(path="cache", reason="can be made again", files=1, size_bytes=5),),
        collections=manifest.collections,
        secret_key=SecretKeyRecord(found=False),
        filesystem="ext4",
        stage=Path("/opt/open-webui/.owui-vault"),
        running=True,
        processes=(812,),
        modes=("auto", "live"),
        warnings=("uploads lie on NFS",),
        providers=Providers(database="sqlite", vectors="qdrant", storage="s3"),
        sqlite=(SqliteLibrary(path="/usr/lib/libsqlite3.so.0", version="3.46.1"),),
        notes=("SQLite 3.46.1 can have a fault",),
        ollama=(OllamaModel(name="llama3.2:3b", digest="a" * 64, size_bytes=2_000_000_000, stored=False),),
    )
    reports.instance(screen, report)
    assert "fingerprint" not in paper.getvalue()
    assert "1 vector collection with 65 vectors, 1 vector lost (-v lists them)" in paper.getvalue()
    reports.instance(screen, report, everything=True)
    text = paper.getvalue()
    for claim in (
        "(version unknown) in /opt/open-webui",
        "running       yes, process 812",
        "database      sqlite\n",
        "vectors       qdrant\n",
        "uploads       s3\n",
        "SQLite         3.46.1 (/usr/lib/libsqlite3.so.0)\n",
        "Notes\n  - SQLite 3.46.1 can have a fault\n",
        "Ollama: 1 model\n",
        "llama3.2:3b",
        "none yet: there are no users",
        "secret key    not found",
        "1 vector collection with 65 vectors",
        "Left out\n  - cache: can be made again (5 B)",
        "Warnings\n  - uploads lie on NFS",
    ):
        assert claim in text
    assert "legacy" not in text
    reports.instance(screen, replace(report, running=False))
    assert "running       no: no process" in paper.getvalue()
    reports.instance(screen, replace(report, running=False, running_is_known=False))
    assert "running       unknown: see the warning below" in paper.getvalue()


def test_a_restore_says_what_to_do_next(
    screen: Screen, paper: io.StringIO, stored: Snapshot, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "RESTORE.txt").touch()
    report = RestoreReport(
        snapshot=stored,
        target=tmp_path,
        data_dir=tmp_path / "data",
        manifest=manifest,
        components=(Component.DATABASE, Component.UPLOADS),
        rewritten=3,
        app_data_dir="/app/backend/data",
        secret_key=tmp_path / "outside/webui_secret_key",
        warnings=("not root: owners were not restored",),
        took=timedelta(seconds=4),
    )
    reports.restored(screen, report)
    text = paper.getvalue()
    for claim in (
        "restored into",
        "database, uploads",
        "/app/backend/data",
        "3 rows",
        "not root",
        "RESTORE.txt",
        "WEBUI_SECRET_KEY",
    ):
        assert claim in text


def test_a_restore_of_a_part_promises_nothing_that_is_not_there(
    screen: Screen, paper: io.StringIO, stored: Snapshot, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "RESTORE.txt").touch()
    report = RestoreReport(
        snapshot=stored,
        target=tmp_path,
        data_dir=tmp_path / "data",
        manifest=manifest,
        components=(Component.CONFIGURATION,),
        rewritten=0,
        app_data_dir="",
        secret_key=None,
        warnings=(),
        took=timedelta(seconds=4),
    )
    reports.restored(screen, report)
    text = paper.getvalue()
    for claim in ("data directory", "expected at", "paths changed", "secret key", "How to start it"):
        assert claim not in text


def plan(stored: Snapshot) -> PrunePlan:
    old = replace(stored, label=replace(stored.label, id="0badcafe") if stored.label else None)
    kept = (Kept(snapshot=stored, reasons=("last 1 of 3", "daily 2026-11-20")),)
    one = RepositoryPrune(
        repository="nas", instance="open-webui", policy=RetentionPolicy(last=3), kept=kept, removed=(old,)
    )
    return PrunePlan(repositories=(one,))


def test_pruning_gives_the_reason_for_each_kept_one(screen: Screen, paper: io.StringIO, stored: Snapshot) -> None:
    pruning.planned(screen, plan(stored))
    text = paper.getvalue()
    assert "nas: 1 kept, 1 would be removed" in text
    assert "last 1 of 3, daily 2026-11-20" in text
    assert "would be removed" in text.splitlines()[-1]


def test_pruning_says_what_it_freed_and_what_failed(screen: Screen, paper: io.StringIO, stored: Snapshot) -> None:
    results = (
        PruneResult(repository="nas", removed=(stored,), freed_bytes=5_000_000),
        PruneResult(repository="far", error=VaultError("too far", hint="Go there.")),
    )
    pruning.pruned(screen, PruneReport(plan=plan(stored), repositories=results, took=timedelta()))
    text = paper.getvalue()
    assert "1 removed" in text
    assert "nas: 1 snapshot removed, 5.0 MB freed\nfar: FAILED: too far\n  hint: Go there." in text


def part(component: Component, depth: VerifyDepth, files: int, size_bytes: int, databases: int = 0) -> VerifiedPart:
    return VerifiedPart(component=component, depth=depth, files=files, size_bytes=size_bytes, databases=databases)


def test_verify_says_what_it_compared_what_it_read_and_what_not(
    screen: Screen, paper: io.StringIO, stored: Snapshot
) -> None:
    sound = FullCheck(path="webui.db", sha256="a" * 64, at=stored.time)
    report = VerifyReport(
        snapshot=stored,
        repository="nas",
        problems=(),
        warnings=("look",),
        read_data=0.05,
        took=timedelta(seconds=2),
        parts=(
            part(Component.DATABASE, VerifyDepth.CONTENT, 1, 1_000_000, 1),
            part(Component.VECTORS, VerifyDepth.CONTENT, 50, 2_000_000, 1),
            part(Component.VECTORS, VerifyDepth.READ, 1, 100),
            part(Component.UPLOADS, VerifyDepth.LISTED, 8, 423_000),
            part(Component.OTHER, VerifyDepth.LISTED, 2, 1000),
        ),
        full_checks=(sound, replace(sound, path="vector_db/chroma.sqlite3", complaints=("wrong",), reindex="cured")),
    )
    verification.verified(screen, report)
    text = paper.getvalue()
    for claim in (
        "in nas: structure sound; 2 databases and 49 index files identical to what was stored\n",
        "\n  read: 1 file (100 B)\n",
        "\n  not read: 8 uploads, 2 other files (424 kB); `verify --read-data` reads them as well\n",
        "\n  the engine read 5% of the repository's data as well\n",
        "SQLite's full check: vector_db/chroma.sqlite3 is damaged at the source; webui.db sound",
        "Warnings\n  - look",
    ):
        assert claim in text
    assert "is right" not in text


def test_verify_names_each_problem(screen: Screen, paper: io.StringIO, stored: Snapshot) -> None:
    report = VerifyReport(
        snapshot=None,
        repository="nas",
        problems=("it is damaged",),
        warnings=(),
        read_data=0.0,
        took=timedelta(seconds=2),
    )
    verification.verified(screen, report)
    parts = (part(Component.DATABASE, VerifyDepth.CONTENT, 1, 9, 1), part(Component.UPLOADS, VerifyDepth.READ, 7, 50))
    missing = replace(report, snapshot=stored, problems=("uploads/x is missing",), read_data=1.0, parts=parts)
    verification.verified(screen, missing)
    text = paper.getvalue()
    assert "repository nas: 1 problem\n  - it is damaged\n  2.0 s\n" in text
    assert "in nas: 1 problem\n  - uploads/x is missing\n  identical to what was stored: 1 database\n" in text
    assert "\n  read: 7 uploads (50 B)\n" in text
    assert "not read" not in text


def test_recover_says_what_it_did(screen: Screen, paper: io.StringIO) -> None:
    reports.recovered(screen, RecoverReport(actions=()))
    reports.recovered(screen, RecoverReport(actions=("resumed the instance",)))
    assert paper.getvalue() == "nothing to recover\n  - resumed the instance\n"


def test_json_is_one_object_with_the_fields_of_the_report(
    capsys: pytest.CaptureFixture[str], snapshot_report: SnapshotReport
) -> None:
    print_json(replace(snapshot_report, problems=(EVIL,)))
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == 1
    assert told["outcome"] == "complete"
    assert told["took_seconds"] == 3.9
    assert told["instant"] == "2026-11-20T03:00:00.250000Z"
    assert told["problems"] == [EVIL]
    assert told["repositories"][0]["snapshot"]["label"]["mode"] == "pause"


def test_an_error_is_told_with_its_hint(capsys: pytest.CaptureFixture[str], snapshot_report: SnapshotReport) -> None:
    error = EngineError("restic failed", engine="restic", stderr_tail=f"a\n{EVIL}\n", hint="Try again.")
    print_error(error, 1, as_json=False)
    assert capsys.readouterr().err == "owui-vault: restic failed\n  hint: Try again.\n"
    print_error(error, 1, as_json=False, verbose=True)
    shown_ = capsys.readouterr()
    assert shown_.out == ""
    assert shown_.err.startswith("owui-vault: restic failed\n  restic said: a\n")
    assert shown_.err.endswith("  hint: Try again.\n")
    assert "\x1b" not in shown_.err
    error.report = snapshot_report
    print_error(error, 12, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["error"] == {"type": "EngineError", "message": "restic failed", "hint": "Try again.", "exit_code": 12}
    assert told["report"]["id"] == "4e1c0a9f"


def events() -> list[Progress]:
    return [
        Progress(step=Step.CAPTURE),
        Progress(step=Step.CAPTURE, done_bytes=5),
        Progress(step=Step.STORE, repository="nas"),
        Progress(step=Step.STORE, repository="far"),
        Progress(step=Step.STORE, repository="nas", done_bytes=5, total_bytes=10),
        Progress(step=Step.STORE, repository="nas", done_bytes=10, total_bytes=10, text=f"file {EVIL}"),
        Progress(step=Step.STORE, repository="far", done_bytes=1, total_bytes=10),
        Progress(step=Step.STORE, repository="nas", text="stored"),
    ]


def test_progress_is_one_line_per_step_where_there_is_no_terminal(paper: io.StringIO) -> None:
    with shown(paper, 0) as sink:
        for event in events():
            sink(event)
    assert paper.getvalue().splitlines() == [
        "capturing one instant",
        "storing → nas",
        "storing → far",
        "storing → nas: file evil[bold]\\x1b[2J\\nname\\udcff",
        "storing → nas: stored",
    ]


def test_a_percentage_that_moves_is_not_a_hundred_lines(paper: io.StringIO) -> None:
    with shown(paper, 0) as sink:
        for share in range(100):
            sink(Progress(step=Step.VERIFY, repository="nas", text=f"Verifying data  {share}.5%"))
        sink(Progress(step=Step.VERIFY, repository="nas", text="Checking archives 0.0%"))
    assert paper.getvalue().splitlines() == ["verifying in nas: Verifying data", "verifying in nas: Checking archives"]


def test_quiet_shows_no_progress(paper: io.StringIO) -> None:
    with shown(paper, -1) as sink:
        for event in events():
            sink(event)
    assert paper.getvalue() == ""


def test_a_terminal_gets_a_bar() -> None:
    terminal = Terminal()
    with shown(terminal, 0) as sink:
        for event in events():
            sink(event)
    assert "storing → nas" in terminal.getvalue()
    assert "\x1b[2J" not in terminal.getvalue()


class Gone(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_whoever_reads_progress_may_go_away() -> None:
    with shown(Gone(), 0) as sink:
        for event in events():
            sink(event)
