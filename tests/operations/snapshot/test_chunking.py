"""A series keeps to its way of cutting files: another one would store everything anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault import DataDirectory, Repository, Secret, Vault
from owui_vault.ports import Call
from owui_vault.testing.engines.bench import make_label
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance


@pytest.mark.parametrize(
    ("instance", "chunking"),
    [("open-webui", "fixed,4096"), ("another", "")],  # another series began in another way
)
def test_a_snapshot_is_cut_as_its_series_was(tmp_path: Path, instance: str, chunking: str) -> None:
    make_small_instance(tmp_path / "data")
    use_small_instance(tmp_path / "data", "first")
    store = DirectoryEngine(tmp_path / "repository", Secret("x"))
    vault = Vault(DataDirectory(tmp_path / "data"), [Repository("nas", store)], state_dir=tmp_path / "state")
    vault.initialize()
    tree = tmp_path / "earlier"
    tree.mkdir()
    (tree / "manifest.json").write_text("{}")
    (tmp_path / "calls").mkdir()
    earlier = make_label(instance=instance, fingerprint="", chunking="fixed,4096")
    store.store(tree, earlier, Call(folder=tmp_path / "calls"))
    taken = vault.snapshot().id
    (found,) = [each for each in vault.snapshots() if each.id == taken]
    assert found.label is not None
    assert found.label.chunking == chunking
