"""What borg really printed, by version, is understood."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from owui_vault.engines.borg.errors import Circumstances, blames_the_repository, classify, telling_lines
from owui_vault.engines.borg.output import (
    Transcript,
    decode_comment,
    encode_comment,
    parse_created,
    parse_item,
    parse_listing,
    parse_message,
)
from owui_vault.engines.common.disk_full import tells_full_disk
from owui_vault.engines.common.environment import redact
from owui_vault.errors import (
    EngineError,
    EngineOutputError,
    RepositoryDamagedError,
    RepositoryExistsError,
    RepositoryFullError,
    RepositoryLockedError,
    RepositoryMissingError,
    RepositoryRolledBackError,
    RepositoryUnreachableError,
    SnapshotMissingError,
    WrongPassphraseError,
)
from owui_vault.testing.engines.bench import make_label

RECORDINGS = Path(__file__).parent / "recordings"
VERSIONS = sorted(path.name for path in RECORDINGS.iterdir())
WHERE = Circumstances(location="/mnt/nas/r", folder="/state/nas/borg", argv=("borg", "list"), stderr_tail="")

MEANINGS = {
    "err_wrong_password": WrongPassphraseError,
    "err_no_password_no_tty": WrongPassphraseError,
    "err_repo_missing": RepositoryMissingError,
    "err_repo_is_empty_dir": RepositoryMissingError,
    "init_again": RepositoryExistsError,
    "modern_repo_exists": RepositoryExistsError,
    "err_locked_list": RepositoryLockedError,
    "err_archive_missing": SnapshotMissingError,
    "create_same_name": EngineError,
    "modern_archive_exists": EngineError,
    "err_repo_replay": RepositoryRolledBackError,
    "err_unknown_unencrypted": EngineError,
    "corrupt_segment_missing_create": RepositoryDamagedError,
    "corrupt_segment_missing_extract": RepositoryDamagedError,
    "corrupt_segment_bitflip_extract": RepositoryDamagedError,
    "modern_extract_integrity": RepositoryDamagedError,
    "corrupt_config_list": RepositoryDamagedError,
    "nospace_backup": RepositoryFullError,
    "be_ssh_bad_key": RepositoryUnreachableError,
    "be_ssh_down": RepositoryUnreachableError,
    "be_ssh_missing_repo": RepositoryMissingError,
    "be_ssh_no_borg": RepositoryUnreachableError,
    "be_ao_outside_path": RepositoryUnreachableError,
    "signal_INT": EngineError,
    "err_usage": EngineError,
}


def recorded(version: str, case: str) -> tuple[int, Transcript]:
    folder = RECORDINGS / version
    transcript = Transcript()
    for line in (folder / f"{case}.stderr").read_text().splitlines():
        transcript.take(line)
    return int((folder / f"{case}.rc").read_text()), transcript


def failures() -> list[tuple[str, str]]:
    found = []
    for version in VERSIONS:
        for path in sorted((RECORDINGS / version).glob("*.stderr")):
            if path.stem.removesuffix("_modern") in MEANINGS:
                found.append((version, path.stem))
    return found


@pytest.mark.parametrize(("version", "case"), failures())
def test_a_recorded_failure_has_its_meaning_and_says_what_to_do(version: str, case: str) -> None:
    status, transcript = recorded(version, case)
    error = classify(status, transcript.msgids, transcript.texts, WHERE)
    assert type(error) is MEANINGS[case.removesuffix("_modern")]
    assert error.hint[-1] in ".?"
    assert "/mnt/nas/r" in error.message
    assert error.message[-1] != "."
    assert (error.engine, error.status) == ("borg", status)


def test_every_meaning_was_recorded_for_both_versions() -> None:
    """But for two: nothing was there to record."""
    missing = {
        (version, case)
        for version in VERSIONS
        for case in MEANINGS
        if not case.startswith("modern_") and not (RECORDINGS / version / f"{case}.stderr").exists()
    }
    assert missing <= {("1.2.4", "be_ao_outside_path")}


@pytest.mark.parametrize(("version", "case"), failures())
def test_a_failure_means_the_same_whatever_the_secret_is(version: str, case: str) -> None:
    """Also where every word of it is one: it is understood first, and blacked out last."""
    status, transcript = recorded(version, case)
    words = {word for text in transcript.texts for word in re.split(r"[^\w.]+", text) if len(word) > 3}
    plain = classify(status, transcript.msgids, transcript.texts, WHERE)
    where = replace(WHERE, clean=lambda text: redact(text, words))
    hidden = classify(status, transcript.msgids, transcript.texts, where)
    assert (type(hidden), hidden.hint) == (type(plain), plain.hint)
    assert hidden.message.split(": ")[0] == plain.message.split(": ")[0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ["nospace_backup", "corrupt_config_list", "corrupt_segment_missing_create"])
def test_of_a_long_report_the_cause_is_kept(version: str, case: str) -> None:
    """Not what comes after it, about the machine."""
    lines = telling_lines(recorded(version, case)[1].texts)
    assert re.search(r"(Errno \d+|ParsingError)", "".join(lines[-2:]))
    assert not [line for line in lines if re.match(r"\s+File|Platform|PID|sys.argv|SSH_|Linux|Traceback", line)]


def test_a_repository_put_back_to_an_older_state_is_explained() -> None:
    status, transcript = recorded("1.4.5", "err_repo_replay_modern")
    error = classify(status, transcript.msgids, transcript.texts, WHERE)
    assert "older" in error.message
    assert "init --again" in error.hint


def test_a_host_without_borg_and_one_that_refuses_the_key_are_told_apart() -> None:
    hints = []
    for case in ("be_ssh_no_borg", "be_ssh_bad_key", "be_ssh_down"):
        status, transcript = recorded("1.4.5", case)
        hints.append(classify(status, transcript.msgids, transcript.texts, WHERE).hint)
    assert len(set(hints)) == 3


def test_an_unknown_failure_keeps_what_was_said() -> None:
    error = classify(2, (), ("Local Exception", "Traceback …\nValueError: {odd}\n\nPlatform: x"), WHERE)
    assert type(error) is EngineError
    assert "ValueError: {odd}" in error.message
    assert "signal 9" in classify(-9, (), (), WHERE).message


@pytest.mark.parametrize("version", VERSIONS)
def test_a_full_target_shows_in_warnings(version: str) -> None:
    _, transcript = recorded(version, "nospace_restore")
    assert all(tells_full_disk(text) for text in transcript.texts)


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        ("x0: read: [Errno 32] Broken pipe", True),
        ("x0: read: [Errno 28] No space left on device", True),
        ("x0: read: [Errno 5] Input/output error", False),
        ("x0: open: [Errno 13] Permission denied: 'x0'", False),
    ],
)
def test_a_file_is_not_blamed_for_what_the_repository_did(text: str, blamed: bool) -> None:
    """Else the run would be tried again, and end INCOMPLETE without anything missing."""
    assert blames_the_repository(text) is blamed
    if blamed:
        kind = type(classify(2, (), (text,), WHERE))
        assert kind in (RepositoryFullError, RepositoryUnreachableError)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stale_lock_that_borg_removed_itself_is_no_error(version: str) -> None:
    status, transcript = recorded(version, "stale_lock_after_sigkill_list")
    assert status == 0
    assert transcript.msgids == ()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_listing_is_read(version: str) -> None:
    listing = parse_listing((RECORDINGS / version / "list_json_format.stdout").read_text())
    assert len(listing.repository_id) == 64
    assert listing.encryption == "repokey-blake2"
    assert listing.archives[0].start == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert {archive.label for archive in listing.archives} == {None}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_creation_is_read(version: str) -> None:
    created = parse_created((RECORDINGS / version / "create_json.stdout").read_text())
    assert (created.name, created.files, len(created.id)) == ("snap-1", 5, 64)
    assert created.original_bytes > created.added_bytes > 0


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_items_are_read(version: str) -> None:
    lines = (RECORDINGS / version / "list_archive_jsonl_rel.stdout").read_text().splitlines()
    items = {item.path: item for item in map(parse_item, lines)}
    assert items["."].kind == "dir"
    assert {item.kind for item in items.values()} >= {"dir", "file"}


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"archives": [{}]}', "Killed", '{"repository": 1}'])
def test_an_answer_that_is_none_is_refused(text: str) -> None:
    for parse in (parse_listing, parse_created, parse_item):
        with pytest.raises(EngineOutputError):
            parse(text)


@given(st.text())
def test_no_line_of_stderr_is_refused(line: str) -> None:
    """ssh, argparse and Python write there as well."""
    Transcript().take(line)
    Transcript().take(json.dumps({"type": line, "message": 7, "current": line, "levelname": None}))


def test_text_that_is_no_json_is_a_complaint() -> None:
    assert parse_message("ssh: connect to host nas port 22: No route to host").is_complaint


def test_a_banner_of_the_host_is_no_complaint_of_borg() -> None:
    """The borg on the host is heard all the same: its words bear its logger's name."""
    said = {"type": "log_message", "levelname": "WARNING", "name": "root", "message": "Remote: Authorized use only"}
    assert parse_message(json.dumps(said)).is_of_the_host
    for telling in ({"name": "borg.repository"}, {"levelname": "ERROR"}, {"message": "a: Permission denied"}):
        assert not parse_message(json.dumps(said | telling)).is_of_the_host


def test_complaints_are_bounded() -> None:
    transcript = Transcript()
    for number in range(10_000):
        transcript.take(f"complaint {number}")
    assert len(transcript.complaints) < 1000


def test_a_label_survives_the_comment() -> None:
    label = make_label(tags=("a", "b"), application_version="{now} ☃ %s")
    comment = encode_comment(label)
    assert not {"{", "}", "%", " ", "\n"} & set(comment)
    assert decode_comment(comment) == label


@given(st.text())
def test_other_comments_are_no_labels(text: str) -> None:
    assert decode_comment(text) is None
