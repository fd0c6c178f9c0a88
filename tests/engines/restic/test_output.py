"""What restic said, recorded by version, is understood: results, progress, and each failure by its kind."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from owui_vault.engines.common.labels import label_to_tags
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.engines.restic.errors import error_for, kind_of
from owui_vault.engines.restic.fetch import Complaints
from owui_vault.engines.restic.location import parse_location, password_in, with_credentials
from owui_vault.engines.restic.output import (
    BackupReader,
    document_of,
    entry_of,
    freed_bytes,
    problems_in,
    snapshots_of,
)
from owui_vault.errors import (
    CancelledError,
    ConfigError,
    EngineError,
    EngineOutputError,
    RepositoryDamagedError,
    RepositoryExistsError,
    RepositoryFullError,
    RepositoryLockedError,
    RepositoryMissingError,
    RepositoryUnreachableError,
    SecretError,
    SnapshotMissingError,
    WrongPassphraseError,
)
from owui_vault.model import Entry, Outcome, Secret
from owui_vault.ports import Call
from owui_vault.testing.engines.bench import make_label

RECORDED: dict[str, dict[str, dict[str, Any]]] = json.loads((Path(__file__).parent / "recordings.json").read_text())

MEANS: dict[type[EngineError], str] = {
    WrongPassphraseError: "err_wrong_password",
    RepositoryMissingError: "err_repo_missing err_repo_is_empty_dir err_repo_missing_backup be_rest_missing_repo"
    " be_s3_missing_repo be_s3_missing_bucket",
    RepositoryExistsError: "init_again_json",
    RepositoryLockedError: "err_locked_forget err_locked_prune err_locked_check",
    RepositoryFullError: "nospace_backup nospace_restore",
    SnapshotMissingError: "restore_badid",
    RepositoryUnreachableError: "be_rest_bad_auth be_rest_other_user be_rest_server_down be_s3_bad_key be_s3_no_key"
    " be_sftp_bad_key be_sftp_down be_rclone_missing_program",
    RepositoryDamagedError: "corrupt_config_snapshots corrupt_key_snapshots corrupt_index_missing_restore"
    " corrupt_index_truncated_backup corrupt_pack_bitflip_restore corrupt_pack_missing_restore"
    " corrupt_pack_truncated_restore corrupt_snapshot_truncated_backup",
    EngineError: "err_usage",
}
FAILURES = [
    pytest.param(recorded, kind, id=f"{version}-{case}")
    for version, cases in RECORDED.items()
    for kind, names in MEANS.items()
    for case in names.split()
    if (recorded := cases.get(case))
]


@pytest.mark.parametrize(("recorded", "kind"), FAILURES)
def test_a_failure_is_known_by_its_kind(recorded: dict[str, Any], kind: type[EngineError]) -> None:
    error = error_for(recorded["status"], recorded["stderr"], location="/r", argv=["restic", "x"])
    assert type(error) is kind
    assert error.hint.endswith(".")
    assert "\n" not in error.message
    assert not error.message.endswith(".")


def test_what_it_says_of_being_ended_is_no_reason() -> None:
    said = (
        "Remove(<lock/1>) returned error, retrying after 1s: unexpected HTTP response (403): 403 Forbidden\n"
        "\x1b[2Ksignal interrupt received, cleaning up"
    )
    error = error_for(1, said, location="rest:https://host/")
    assert error.message.endswith("403 Forbidden")
    assert "signal" not in error.message


def test_what_our_words_say_is_not_said_again_with_a_word_blacked_out() -> None:
    said = "Fatal: wrong password or no key found"
    error = error_for(1, said, location="/r", secrets=["password"])
    assert error.message == "the passphrase does not open the repository /r"
    assert isinstance(error, EngineError)
    assert "wrong ***" in error.stderr_tail
    missing = error_for(
        1, "Fatal: unable to open config file\nIs there a repository at the following location?", location="/r"
    )
    assert missing.message == "there is no repository at /r"


def test_the_line_with_the_cause_is_shown_and_not_the_last_one() -> None:
    said = "ignoring error for /x: ciphertext verification failed\nignoring error for /x: UtimesNano: no such file"
    assert error_for(1, said, location="/r").message.endswith("/x: ciphertext verification failed")


def test_an_unknown_status_is_a_failure() -> None:
    assert kind_of(77, "") is EngineError
    assert kind_of(None, "") is EngineError


@pytest.mark.parametrize("version", RECORDED)
def test_an_empty_passphrase_is_a_mistake_of_ours(version: str) -> None:
    recorded = RECORDED[version]["err_empty_password"]
    assert type(error_for(recorded["status"], recorded["stderr"], location="/r")) is SecretError


def test_errors_hold_no_secrets() -> None:
    error = error_for(1, "Fatal: s3cr3t at http://u:pw12@h/", location="/r", argv=["-o", "s3cr3t"], secrets=["s3cr3t"])
    assert isinstance(error, EngineError)
    shown = f"{error} {error.stderr_tail} {error.argv}"
    assert "s3cr3t" not in shown
    assert "pw12" not in shown


@pytest.mark.parametrize(("recorded", "kind"), FAILURES)
def test_a_failure_means_the_same_whatever_the_secret_is(recorded: dict[str, Any], kind: type[EngineError]) -> None:
    """Also where every word of it is one: it is understood first, and blacked out last."""
    words = {word for word in re.split(r"[^\w.]+", recorded["stderr"]) if len(word) > 3}
    plain = error_for(recorded["status"], recorded["stderr"], location="/r")
    hidden = error_for(recorded["status"], recorded["stderr"], location="/r", secrets=words)
    assert (type(hidden), hidden.hint) == (kind, plain.hint)
    assert hidden.message.split(": ")[0] == plain.message.split(": ")[0]
    assert isinstance(hidden, EngineError)
    assert not [word for word in words if word in hidden.stderr_tail]


def test_a_secret_that_would_be_cut_in_two_is_hidden_whole() -> None:
    error = error_for(1, f"Fatal: {'x' * 297}hunter2hunter2", location="/r", secrets=["hunter2hunter2"])
    assert "hunter" not in f"{error}"


CHECKS = [
    pytest.param(RECORDED[version][case]["stderr"], telling, id=f"{version}-{case}")
    for version in RECORDED
    for case, telling in {
        "corrupt_pack_missing_check": "does not exist",
        "corrupt_pack_truncated_check": "unexpected file size",
        "corrupt_pack_bitflip_check_read_data": "319ab7a3|ack",
        "corrupt_snapshot_truncated_check": "invalid data returned",
        "corrupt_index_truncated_check": "invalid data returned",
        "corrupt_index_missing_check": "not found in repository",
    }.items()
]


@pytest.mark.parametrize(("stderr", "telling"), CHECKS)
def test_a_check_answers_what_is_damaged_and_no_advice(stderr: str, telling: str) -> None:
    problems = problems_in(stderr.splitlines())
    assert problems[0].startswith("the repository is damaged: data on its storage changed or are missing.")
    assert any(part in problem for problem in problems[1:] for part in telling.split("|"))
    assert not any("retrying" in problem or problem.endswith(":") for problem in problems)
    assert not any("restic repair" in problem or "troubleshooting" in problem for problem in problems)
    assert all("\n" not in problem for problem in problems)


def test_a_check_that_fails_without_a_word_is_a_problem_too() -> None:
    (problem,) = problems_in([])
    assert "the repository is damaged" in problem


def test_the_last_words_of_a_stack_trace_are_those_before_it() -> None:
    """restic 0.14 on a truncated pack."""
    said = """Load(<data/3b1d673201>, 527, 842) returned error, retrying after 15.4s: EOF
EOF
ReadFull(<data/3b1d673201>)
github.com/restic/restic/internal/backend.ReadAt
\tgithub.com/restic/restic/internal/backend/readerat.go:39
runtime.goexit
\truntime/asm_amd64.s:1594"""
    error = error_for(1, said, location="/r")
    assert isinstance(error, RepositoryDamagedError)
    assert error.message == "the repository /r is damaged: ReadFull(<data/3b1d673201>)"


@pytest.mark.parametrize("version", RECORDED)
def test_unreadable_files_are_named_by_their_path_in_the_tree(version: str) -> None:
    recorded = RECORDED[version]["err_unreadable_source"]
    reader = BackupReader(Path("/w/unread"), Call(folder=Path("/nowhere")))
    for line in recorded["stderr"].splitlines():
        reader.stderr(line)
    for line in recorded["stdout"].splitlines():
        reader.stdout(line)
    assert {skipped.path for skipped in reader.skipped} == {"sdir", "secret"}
    assert all(skipped.reason for skipped in reader.skipped)
    assert reader.summary is not None
    assert reader.summary.added_bytes > 0


@pytest.mark.parametrize("version", RECORDED)
def test_a_damaged_parent_is_no_complete_snapshot(version: str) -> None:
    reader = BackupReader(Path("/w/x"), Call(folder=Path("/nowhere")))
    for line in RECORDED[version]["corrupt_index_missing_backup"]["stderr"].splitlines():
        reader.stderr(line)
    assert reader.skipped


@pytest.mark.parametrize(
    ("line", "freed"),
    [
        ("total prune:           0 blobs / 0 B", 0),
        ("total prune:           3 blobs / 1.175 KiB", 1203),
        ("total prune:          15 blobs / 4.003 MiB", 4197450),
        ("nothing", None),
    ],
)
def test_what_prune_freed_is_read_from_its_words(line: str, freed: int | None) -> None:
    assert freed_bytes(["loading", line, "done"]) == freed


def snapshot(engine_id: str, **more: object) -> dict[str, object]:
    return {"id": engine_id * 64, "short_id": engine_id * 8, "time": "2026-01-02T04:00:00.123456789+01:00"} | more


def test_snapshots_are_read_with_and_without_a_label() -> None:
    label = make_label(engine="restic", engine_version="0.18.0")
    ours, foreign = snapshots_of(
        [snapshot("a", tags=list(label_to_tags(label)), summary={"total_bytes_processed": 5}), snapshot("b", tags=None)]
    )[::-1]
    assert (ours.label, ours.time, ours.size_bytes, ours.name) == (label, label.instant, 5, "a" * 8)
    assert (foreign.label, foreign.time.isoformat()) == (None, "2026-01-02T03:00:00.123456+00:00")


def test_half_relabelled_snapshots_are_listed_as_they_are() -> None:
    """Which of them counts depends on what for: see tests/operations/test_twins.py."""
    good, bad = make_label(), make_label(outcome=Outcome.INCOMPLETE)
    found = snapshots_of(
        [
            snapshot("a", tags=list(label_to_tags(good))),
            snapshot("b", tags=list(label_to_tags(bad)), original="a" * 64),
            snapshot("c", tags=list(label_to_tags(make_label(2)))),
        ]
    )
    assert {each.engine_id[0]: each.outcome for each in found} == {
        "a": Outcome.COMPLETE,
        "b": Outcome.INCOMPLETE,
        "c": Outcome.COMPLETE,
    }


@pytest.mark.parametrize("broken", [{}, {"id": 5}, {"id": "a", "time": "never"}, {"id": "a", "time": 7}])
def test_a_snapshot_that_makes_no_sense_is_an_error(broken: dict[str, object]) -> None:
    with pytest.raises(EngineOutputError):
        snapshots_of([broken])


def test_equal_times_are_ordered_by_id() -> None:
    assert [each.engine_id[0] for each in snapshots_of([snapshot("b"), snapshot("a")])] == ["a", "b"]


def test_paths_are_read_without_their_slash() -> None:
    line = {"struct_type": "node", "type": "file", "path": "/data/x", "name": "x", "size": 5}
    assert entry_of(line) == Entry(path="data/x", kind="file", size_bytes=5)
    assert entry_of(line | {"type": "fifo"}) == Entry(path="data/x", kind="other")
    assert entry_of({"struct_type": "snapshot"}) is None
    with pytest.raises(EngineOutputError):
        entry_of({"struct_type": "node", "type": "file"})


@pytest.mark.parametrize("line", ["", "text", "{half", "[1]", "5"])
def test_lines_that_are_no_object_are_text(line: str) -> None:
    assert document_of(line) is None


def test_credentials_of_a_rest_server_leave_the_environment() -> None:
    environment = {"RESTIC_REST_USERNAME": "al ice", "RESTIC_REST_PASSWORD": "p@ss/word", "OTHER": "x"}
    location = with_credentials("rest:https://host:8000/alice/", environment)
    assert location == "rest:https://al%20ice:p%40ss%2Fword@host:8000/alice/"
    assert environment == {"OTHER": "x"}
    assert password_in(location) == "p%40ss%2Fword"


def test_a_local_path_becomes_absolute_and_shows_no_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for location in ("repository", "local:repository", str(tmp_path / "repository")):
        parsed = parse_location(location)
        assert (parsed.shown, parsed.folder) == (str(tmp_path / "repository"), tmp_path / "repository")


def test_an_engine_shows_no_password() -> None:
    engine = ResticEngine("rest:https://alice:secret@host/alice/", Secret("x"))
    assert engine.location == "rest:https://alice@host/alice/"


def test_what_follows_from_location_and_passphrase_cannot_be_set() -> None:
    with pytest.raises(ConfigError):
        ResticEngine("/r", Secret("x"), environment={"RESTIC_PASSWORD": "y"})


def test_nothing_is_started_when_cancel_is_set(tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        ResticEngine("/r", Secret("x"), program="/no/such").snapshots(Call(folder=tmp_path, cancel=cancel))


@pytest.mark.parametrize(
    ("said", "owners", "others"),
    [
        ("ignoring error for /a: Lchown: lchown /t/a: operation not permitted\nFatal: There were 1 errors\n", 1, 0),
        ("ignoring error for /n\nl: Lchown: lchown /t/n\nl: operation not permitted\nFatal: There were 1 errors", 1, 0),
        ("ignoring error for /a: open /t/a: permission denied\nFatal: There were 1 errors", 0, 1),
        (
            "ignoring error for /a: open /t/a: permission denied\n"
            "ignoring error for /b: Lchown: lchown /t/b: operation not permitted\nFatal: There were 2 errors",
            1,
            1,
        ),
        ('{"message_type":"error","error":{"message":"lchown /t/a\\nb: invalid argument"}}', 1, 0),
        ('{"message_type":"error","error":{"message":"chmod /t/a: operation not permitted"}}', 0, 1),
        ("Fatal: wrong password or no key found", 0, 1),
    ],
)
def test_complaints_about_owners_are_told_from_others(said: str, owners: int, others: int) -> None:
    complaints = Complaints()
    for line in said.splitlines():
        complaints.take(line)
    assert (complaints.owners, len(complaints.others)) == (owners, others)
    assert complaints.only_owners is (owners > 0 and not others)
