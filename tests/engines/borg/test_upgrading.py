"""What an older borg left in a repository, seen by a newer one."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import BorgEngine, RepositoryDamagedError, Secret
from owui_vault.testing.engines.bench import PASSPHRASE, Bench
from tests.borg_templates import WITHOUT_SELFTEST, PlaceBorg

INSTALL = Path(__file__).parents[3] / "docs" / "install.md"


@pytest.mark.slow
def test_what_borg_1_2_4_relabelled_is_told_by_its_cause_and_mended_as_the_page_says(
    tmp_path: Path, own_borg: Path, newest_borg: Path, place_borg: PlaceBorg
) -> None:
    said = subprocess.run([own_borg, "--version"], capture_output=True, text=True, check=True).stdout
    if not re.search(r"borg 1\.2\.[0-4]\b", said):
        pytest.skip(f"{said.strip()} renews the seal of what it relabels")
    place_borg(tmp_path / "repository", str(own_borg), PASSPHRASE)

    def bench(program: Path, folder: str) -> Bench:
        (tmp_path / folder).mkdir(exist_ok=True)
        engine = BorgEngine(
            str(tmp_path / "repository"), Secret(PASSPHRASE), program=str(program), environment=WITHOUT_SELFTEST
        )
        return Bench(engine=engine, folder=tmp_path / folder)

    old, new = bench(own_borg, "old"), bench(newest_borg, "new")
    stored = old.store(1).snapshot
    assert stored.label is not None
    assert [each.id for each in new.engine.snapshots(new.call())] == [stored.id]
    old.engine.relabel(stored.engine_id, replace(stored.label, pinned=True), old.call())
    with pytest.raises(RepositoryDamagedError) as caught:
        new.engine.snapshots(new.call())
    assert "relabelled by borg 1.2.4 or older, or forged" in caught.value.message
    assert "docs/install.md" in caught.value.hint
    (command,) = re.findall(r"^BORG_WORKAROUNDS=.*$", INSTALL.read_text(encoding="utf-8"), re.MULTILINE)
    typed = command.replace("/mnt/nas/open-webui", str(tmp_path / "repository")).replace(" borg ", f" {newest_borg} ")
    environment = os.environ | {"BORG_PASSPHRASE": PASSPHRASE, "BORG_BASE_DIR": str(tmp_path / "by hand")}
    subprocess.run(["sh", "-c", typed], env=environment, capture_output=True, timeout=60, check=True)
    for each in (new, old):
        assert [one.label.pinned for one in each.engine.snapshots(each.call()) if one.label] == [True]
