"""Of a damaged repository everything comes back that is there, and what is not is named, on every engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from owui_vault import DataDirectory, Engine, Repository, RepositoryDamagedError, Vault
from owui_vault.testing.small_instance import make_small_instance, use_small_instance
from owui_vault.vault.target import MARKER
from tests.vault.conftest import MakeEngine

LARGE = 12_000_000  # more than all the rest, so that the middle of what is stored is in it


@pytest.fixture
def engine(make_engine: MakeEngine, tmp_path: Path) -> Engine:
    return make_engine(tmp_path / "repository")


def damage(repository: Path) -> None:
    """Flip a byte in the middle of the largest file, which is in the large upload."""
    path = max((each for each in repository.rglob("*") if each.is_file()), key=lambda each: each.stat().st_size)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))


def test_one_damaged_upload_is_named_and_all_else_is_there(engine: Engine, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    make_small_instance(data_dir)
    use_small_instance(data_dir, "small")
    for name in ("a.bin", "z.bin"):
        (data_dir / "uploads" / name).write_bytes(b"beside it")
    large = data_dir / "uploads" / "large.bin"
    large.write_bytes(os.urandom(LARGE))
    vault = Vault(DataDirectory(data_dir), [Repository("nas", engine)], state_dir=tmp_path / "state")
    vault.initialize()
    vault.snapshot()
    damage(tmp_path / "repository")
    with pytest.raises(RepositoryDamagedError) as caught:
        vault.restore("latest", tmp_path / "target")
    assert caught.value.paths == ("data/uploads/large.bin",)
    assert "1 of " in caught.value.message
    assert "large.bin" in (tmp_path / "target" / MARKER).read_text()
    there = {path.name: path.read_bytes() for path in (data_dir / "uploads").iterdir() if path != large}
    came = {path.name: path.read_bytes() for path in (tmp_path / "target/data/uploads").iterdir()}
    assert {name: came.get(name) for name in there} == there
    assert (tmp_path / "target/data/webui.db").read_bytes()
    assert (tmp_path / "target/manifest.json").is_file()
