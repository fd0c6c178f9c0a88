from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from errno import ENOSPC
from pathlib import Path

import pytest
from owui_vault.context.state import (
    CHECKS_LENGTH,
    LEDGER_LENGTH,
    REWRITTEN_LENGTH,
    InstanceMemory,
    LastStored,
    RepositoryMemory,
    StateDirectory,
)
from owui_vault.errors import NoSpaceError
from owui_vault.model import FullCheck, LedgerEntry


def entry(number: int) -> LedgerEntry:
    return LedgerEntry(
        snapshot=f"{number:08x}",
        repository="nas",
        kind="verify",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        ok=number % 2 == 0,
        detail="",
    )


def test_nothing_is_created_by_looking(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    assert state.instance_memory("a") == InstanceMemory()
    assert state.ledger("a") == ()
    assert not (tmp_path / "state").exists()


def test_what_was_noted_is_known_again(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    folder = state.repository_folder("nas", "/mnt/nas")
    state.remember_repository(folder, "r1")
    state.remember_stored(folder, "open-webui", LastStored(id="aaaa0001"))
    state.remember_stored(folder, "other", LastStored(id="bbbb0001"))
    assert [state.next_sequence("open-webui", known) for known in (0, 6, 3)] == [1, 7, 8]
    state.adopt("open-webui", "f")
    state.remember_rewritten("open-webui", ["uploads/\udcff", "uploads/a"])
    state.remember_rewritten("open-webui", ["uploads/b", "uploads/a"])
    again = StateDirectory(tmp_path)
    memory = again.repository_memory(folder)
    assert memory.id == "r1"
    assert {series: last.id for series, last in memory.last} == {"open-webui": "aaaa0001", "other": "bbbb0001"}
    assert again.instance_memory("open-webui") == InstanceMemory(
        sequence=8, adopted="f", rewritten=("uploads/\udcff", "uploads/a", "uploads/b")
    )
    state.remember_rewritten("open-webui", [f"uploads/{number}" for number in range(REWRITTEN_LENGTH)])
    assert state.instance_memory("open-webui").rewritten[:2] == ("uploads/0", "uploads/1")


def test_a_repository_that_moved_is_another_one(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    assert state.repository_folder("nas", "/a") != state.repository_folder("nas", "/b")
    assert state.repository_folder("nas", "/a").stat().st_mode & 0o777 == 0o700


def test_the_ledger_forgets_its_oldest_entries(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    for number in range(LEDGER_LENGTH + 3):
        state.add_to_ledger("open-webui", entry(number))
    ledger = state.ledger("open-webui")
    assert len(ledger) == LEDGER_LENGTH
    assert ledger[-1] == entry(LEDGER_LENGTH + 2)


def test_the_last_that_was_right_in_each_repository_is_not_forgotten(tmp_path: Path) -> None:
    """A hundred verifications that found something wrong must not cost the last good snapshot its protection."""
    state = StateDirectory(tmp_path)
    last = {name: replace(entry(2 * number), repository=name) for number, name in enumerate(("nas", "far"))}
    wrong = replace(last["far"], snapshot="ffffffff")
    for each in (entry(10), wrong, *last.values(), replace(wrong, ok=False)):
        state.add_to_ledger("open-webui", each)
    for number in range(LEDGER_LENGTH + 3):
        state.add_to_ledger("open-webui", entry(2 * number + 101))
    ledger = state.ledger("open-webui")
    assert [each for each in ledger if each.ok] == list(last.values())
    assert len(ledger) == LEDGER_LENGTH + 2
    assert ledger[-1] == entry(2 * LEDGER_LENGTH + 105)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sequence": "x", "entries": [1, {"snapshot": 1}], "rewritten": 1}'])
def test_a_damaged_note_is_forgotten_and_not_fatal(tmp_path: Path, text: str) -> None:
    state = StateDirectory(tmp_path)
    folder = state.instance_folder("open-webui")
    (folder / "memory.json").write_text(text)
    (folder / "ledger.json").write_text(text)
    assert state.instance_memory("open-webui").sequence == 0
    assert state.ledger("open-webui") == ()


def test_another_repository_in_the_same_place_begins_with_nothing(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    folder = state.repository_folder("nas", "/mnt/nas")
    state.remember_stored(folder, "open-webui", LastStored(id="aaaa0001"))
    state.remember_storing(folder, "open-webui", "aaaa0002")
    state.remember_repository(folder, "r1")
    known = RepositoryMemory(
        id="r1", last=(("open-webui", LastStored(id="aaaa0001")),), unverified=(("aaaa0002", "open-webui"),)
    )
    assert state.repository_memory(folder) == known
    state.remember_repository(folder, "r1")
    assert state.repository_memory(folder) == known
    state.remember_repository(folder, "r2")
    assert state.repository_memory(folder) == RepositoryMemory(id="r2")


def test_what_is_to_be_looked_after_is_known_until_it_was(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    folder = state.repository_folder("nas", "/mnt/nas")
    for number in (1, 2):
        state.remember_storing(folder, "open-webui", f"aaaa000{number}")
    state.remember_storing(folder, "other", "bbbb0001")
    assert state.repository_memory(folder).unverified_of("open-webui") == {"aaaa0001", "aaaa0002"}
    state.remember_stored(folder, "open-webui", LastStored(id="aaaa0002"))
    assert state.repository_memory(folder).unverified_of("open-webui") == {"aaaa0001"}
    state.forget_storing(folder, ("aaaa0001",))
    assert state.repository_memory(folder).unverified == (("bbbb0001", "other"),)


def test_notes_taken_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    """Two series in one repository, and several verifications: every thread has a vault of its own."""
    folder = StateDirectory(tmp_path).repository_folder("nas", "/mnt/nas")

    def note(number: int) -> int:
        state = StateDirectory(tmp_path)
        state.remember_stored(folder, f"series-{number}", LastStored(id=f"{number:08x}"))
        state.add_to_ledger("open-webui", entry(number))
        return state.next_sequence("open-webui", 0)

    with ThreadPoolExecutor(max_workers=8) as pool:
        numbers = list(pool.map(note, range(40)))
    assert sorted(numbers) == list(range(1, 41))
    assert len(StateDirectory(tmp_path).repository_memory(folder).last) == 40
    assert len(StateDirectory(tmp_path).ledger("open-webui")) == 40
    assert [path.name for path in folder.iterdir()] == ["memory.json"]


def test_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateDirectory(tmp_path)
    folder = state.repository_folder("nas", "/mnt/nas")

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("owui_vault.context.state.write_durably", full)
    with pytest.raises(NoSpaceError, match="No space left"):
        state.remember_stored(folder, "open-webui", LastStored(id="aaaa0001"))


def test_the_last_verification_of_each_depth_outlives_many_others(tmp_path: Path) -> None:
    """Which snapshot was read to the last byte protects it, and is what `snapshots` shows."""
    state = StateDirectory(tmp_path)
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def verified(snapshot: str, *, ok: bool = True, depth: str = "") -> LedgerEntry:
        return LedgerEntry(snapshot=snapshot, repository="nas", kind="verify", at=at, ok=ok, depth=depth)

    for each in (verified("deep", depth="all"), verified("found wrong since", depth="all"), verified("right")):
        state.add_to_ledger("one", each)
    state.add_to_ledger("one", verified("found wrong since", ok=False))
    for number in range(LEDGER_LENGTH):
        state.add_to_ledger("one", verified(f"wrong {number}", ok=False))
    assert [each.snapshot for each in state.ledger("one")][:2] == ["deep", "right"]


def test_verdicts_are_remembered_by_their_bytes_and_the_oldest_forgotten(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    damaged = FullCheck(path="webui.db", sha256="a", at=at, complaints=("wrong",), reindex="cured")
    state.remember_full_checks("one", [damaged, FullCheck(path="x.db", sha256="x", at=at, not_done="no time")])
    assert state.full_checks("one") == (damaged,)
    for number in range(CHECKS_LENGTH):
        state.remember_full_checks("one", [FullCheck(path="webui.db", sha256=str(number), at=at)])
    assert len(state.full_checks("one")) == CHECKS_LENGTH
    assert damaged not in state.full_checks("one")
    first = FullCheck(path="webui.db", sha256="0", at=at)
    state.remember_full_checks("one", [first])
    assert state.full_checks("one")[-1] == first
    (tmp_path / "instances/one/checks.json").write_text('{"checks": [1, {"path": "webui.db"}, {"at": "never"}]}')
    assert state.full_checks("one") == ()
