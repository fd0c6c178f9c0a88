"""The real small instances of both versions, through both engines and back, table by table and byte by byte."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault import BorgEngine, DataDirectory, Engine, Outcome, Repository, ResticEngine, Secret, Vault
from owui_vault.testing.instances.generate import unpack_instance

pytestmark = pytest.mark.slow
Tables = dict[str, list[tuple[object, ...]]]
Program = Callable[[str, str], Path]


def tables(database: Path, scratch: Path) -> Tables:
    """Every row of every table, read from a copy with its log, so that nothing of the original is touched."""
    scratch.mkdir()
    for path in database.parent.glob(f"{database.name}*"):
        if not path.name.endswith("-shm"):
            (scratch / path.name).write_bytes(path.read_bytes())
    with closing(sqlite3.connect(scratch / database.name)) as connection:
        connection.text_factory = bytes
        names = [row[0].decode() for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: Tables = {}
        for name in names:
            try:
                rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
            except sqlite3.DatabaseError:
                continue  # a virtual table of an extension that is not loaded here; its shadow tables are compared
            found[name] = sorted(rows, key=repr)
    return found


def files(data: Path) -> dict[str, str]:
    """Digests of what is not SQLite's and is not left out."""
    found = {}
    for folder, _, names in os.walk(data):
        for name in names:
            path = Path(folder) / name
            relative = str(path.relative_to(data))
            if ".sqlite3" in name or name.startswith(("webui.db", "audit.log")) or relative.startswith("cache/audio"):
                continue
            found[relative] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def compare(live: Path, back: Path, scratch: Path) -> None:
    scratch.mkdir()
    assert not list(back.rglob("*-wal")) + list(back.rglob("*-shm")) + list(back.rglob("*-journal"))
    for name in ("webui.db", "vector_db/chroma.sqlite3"):
        before = tables(live / name, scratch / f"{Path(name).name}-before")
        after = tables(back / name, scratch / f"{Path(name).name}-after")
        assert before.keys() == after.keys()
        for table, rows in before.items():
            assert after[table] == rows, f"{name}: {table}"
        assert len(before) > 5
    assert files(back) == files(live)


def an_engine(name: str, folder: Path) -> Engine:
    kind = ResticEngine if name == "restic" else BorgEngine
    return kind(str(folder / "repository"), Secret("a passphrase"), program=f"/usr/bin/{name}")


def plainly(name: str, folder: Path, target: Path) -> None:
    """The engine's own program and the passphrase: nothing of ours."""
    target.mkdir()
    location = str(folder / "repository")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
    if name == "restic":
        environment |= {"RESTIC_PASSWORD": "a passphrase"}
        command = ["/usr/bin/restic", "-r", location, "restore", "latest", "--target", str(target)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return
    environment |= {"BORG_PASSPHRASE": "a passphrase"}
    listed = subprocess.run(
        ["/usr/bin/borg", "list", "--short", location], env=environment, check=True, capture_output=True, text=True
    )
    archive = listed.stdout.split()[-1]
    command = ["/usr/bin/borg", "extract", f"{location}::{archive}"]
    subprocess.run(command, env=environment, check=True, capture_output=True, cwd=target)


# Both instances and both engines are in `make test`; the other two pairs are in `make soak`.
@pytest.mark.parametrize(
    ("engine_name", "version"),
    [
        ("restic", "0.12.4"),
        ("borg", "0.6.43"),
        pytest.param("restic", "0.6.43", marks=pytest.mark.rare),
        pytest.param("borg", "0.12.4", marks=pytest.mark.rare),
    ],
)
def test_a_real_instance_comes_back_row_by_row(
    tmp_path: Path, version: str, engine_name: str, program: Program
) -> None:
    program(f"/usr/bin/{engine_name}", "the real instances go through it")
    live = unpack_instance(version, tmp_path / "live")
    vault = Vault(
        DataDirectory(live), [Repository("nas", an_engine(engine_name, tmp_path))], state_dir=tmp_path / "state"
    )
    vault.initialize()
    report = vault.snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.manifest
    assert report.manifest.secret_key.found
    restored = vault.restore("latest", tmp_path / "back")
    compare(live, restored.data_dir, tmp_path / "compare-ours")
    key = (tmp_path / "back/outside/webui_secret_key").read_bytes()
    assert key == next(tmp_path.glob("live/**/.webui_secret_key")).read_bytes()
    plainly(engine_name, tmp_path, tmp_path / "plain")
    compare(live, tmp_path / "plain/data", tmp_path / "compare-plain")
