"""A collapse as a person meets it, on a real instance and a real repository."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from tests.cli.conftest import Program

pytestmark = pytest.mark.slow


def test_prune_removes_nothing_and_ends_5_until_the_snapshot_is_accepted(vault: Program) -> None:
    text = (vault.folder / "vault.yaml").read_text()
    vault.configure(text.replace("keep: {last: 2}", "keep: {last: 1}") + "collapse: {least: 1, chats: 10%}\n")
    with closing(sqlite3.connect(vault.folder / "data/webui.db")) as database:
        database.execute("DELETE FROM chat")
        database.commit()
    assert vault.run("snapshot").returncode in (0, 3)
    (newest, full) = vault.json("snapshots")["snapshots"]
    assert newest["label"]["chats"] == 0 < full["label"]["chats"]
    dry = vault.run("prune", "--dry-run")
    assert dry.returncode == 5
    assert f"COLLAPSE: nothing is pruned in any repository: the newest complete snapshot, {newest['label']['id']}" in (
        " ".join(dry.stdout.split())
    )
    answer = vault.json("prune", code=5)
    assert answer["plan"]["collapse"]["snapshot"] == newest["label"]["id"]
    assert [each["removed"] for each in answer["repositories"]] == [[]]
    shown = vault.run("status")
    assert shown.returncode == 5
    assert "COLLAPSE" in shown.stdout
    assert vault.run("prune", "--dry-run", "--accept-collapse").returncode == 2
    accepted = vault.run("prune", "--accept-collapse")
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert [each["label"]["id"] for each in vault.json("snapshots")["snapshots"]] == [newest["label"]["id"]]
    assert vault.run("prune").returncode == 0
