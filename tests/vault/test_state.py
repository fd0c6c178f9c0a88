from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from owui_vault.model import LedgerEntry
from owui_vault.vault.state import LEDGER_LENGTH, InstanceMemory, RepositoryMemory, StateDirectory


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
    state.remember_repository(folder, RepositoryMemory(id="r1"))
    state.remember_stored(folder, "open-webui", "aaaa0001")
    state.remember_stored(folder, "other", "bbbb0001")
    state.remember_instance("open-webui", InstanceMemory(sequence=7, adopted="f"))
    again = StateDirectory(tmp_path)
    memory = again.repository_memory(folder)
    assert (memory.id, memory.last_of("open-webui"), memory.last_of("other"), memory.last_of("x")) == (
        "r1",
        "aaaa0001",
        "bbbb0001",
        "",
    )
    assert again.instance_memory("open-webui") == InstanceMemory(sequence=7, adopted="f")


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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sequence": "x", "entries": [1, {"snapshot": 1}]}'])
def test_a_damaged_note_is_forgotten_and_not_fatal(tmp_path: Path, text: str) -> None:
    state = StateDirectory(tmp_path)
    folder = state.instance_folder("open-webui")
    (folder / "memory.json").write_text(text)
    (folder / "ledger.json").write_text(text)
    assert state.instance_memory("open-webui").sequence == 0
    assert state.ledger("open-webui") == ()
