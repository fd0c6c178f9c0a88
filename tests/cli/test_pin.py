"""`pin` and `unpin` as a person types them."""

from __future__ import annotations

import pytest
from tests.cli.conftest import Program

pytestmark = pytest.mark.slow


def test_a_snapshot_is_pinned_shown_kept_and_unpinned(vault: Program) -> None:
    done = vault.run("pin", "latest")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nas: pinned: no retention removes it" in done.stdout
    (listed,) = vault.json("snapshots")["snapshots"]
    assert listed["label"]["pinned"] is True
    assert "pinned" in vault.run("snapshots").stdout.splitlines()[0]
    assert "pinned" in vault.run("prune", "--dry-run").stdout
    answer = vault.json("unpin", listed["label"]["id"])
    assert (answer["pinned"], [each["changed"] for each in answer["repositories"]]) == (False, [True])
    assert "pinned" not in vault.run("snapshots").stdout


def test_one_of_several_that_is_away_is_named_and_ends_1(vault: Program) -> None:
    text = (vault.folder / "vault.yaml").read_text()
    (first,) = [line for line in text.splitlines() if line.startswith("  nas:")]
    vault.configure(text.replace(first, "\n".join([first, first.replace("nas", "gone")])))
    done = vault.run("pin", "latest")
    assert done.returncode == 1
    assert "nas: pinned" in done.stdout + done.stderr
    assert "gone: NOT PINNED: " in done.stdout + done.stderr
    vault.configure(
        text.replace(
            first, "\n".join([first, first.replace("nas", "gone").replace("{engine", "{optional: true, engine")])
        )
    )
    assert vault.run("unpin", "latest").returncode == 0


def test_what_there_is_not_cannot_be_pinned(vault: Program) -> None:
    assert vault.run("pin", "0000dead").returncode == 1
