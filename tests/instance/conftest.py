"""Real instances, at rest and as they were left, and moments of a real vector store."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from owui_vault.components.uploads import sha256_of
from owui_vault.manifest.application_facts import read_stage
from owui_vault.manifest.health import examine
from owui_vault.manifest.inventory import component_records, from_tree
from owui_vault.model import (
    ApplicationRecord,
    DatabaseRecord,
    Entry,
    FileRecord,
    Manifest,
    Outcome,
    Proof,
    ProofRecord,
    SecretKeyRecord,
)
from owui_vault.testing.instances.generate import VERSIONS, unpack_instance
from tests.pages import unpack_safely

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY / "tests" / "data"


def settle(data_dir: Path) -> Path:
    """Bring a copy to rest: its WAL is applied, nothing lies beside it."""
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for suffix in ("-wal", "-shm"):
        (data_dir / f"webui.db{suffix}").unlink(missing_ok=True)
    return data_dir


@pytest.fixture(params=sorted(VERSIONS))
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A real data directory as its server left it: 0.12.4 with a WAL that matters."""
    return unpack_instance(request.param, tmp_path / "instance")


@pytest.fixture
def at_rest(left: Path) -> Path:
    """A real data directory as a capture brings it to rest."""
    return settle(left)


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    """The 0.12.4 instance at rest."""
    return settle(unpack_instance("0.12.4", tmp_path / "instance"))


@pytest.fixture(scope="session")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders a, b and c: one real store (chromadb 1.5.9) at 1,500, 2,600 and 3,700 vectors."""
    target = tmp_path_factory.mktemp("moments")
    with tarfile.open(DATA / "chroma-moments.tar.xz") as archive:
        unpack_safely(archive, target)
    return target


@pytest.fixture
def mixed(moments: Path, tmp_path: Path) -> Callable[[str, str], Path]:
    """`mixed("b", "a")`: a data directory whose chroma.sqlite3 is of b and whose HNSW files are of a."""

    def mix(database: str, index: str) -> Path:
        data_dir = tmp_path / f"mixed-{database}-{index}"
        shutil.copytree(moments / index, data_dir / "vector_db")
        shutil.copyfile(moments / database / "chroma.sqlite3", data_dir / "vector_db" / "chroma.sqlite3")
        return data_dir

    return mix


def index_of(data_dir: Path) -> Path:
    """The only HNSW directory that holds a pickle."""
    (pickle,) = (data_dir / "vector_db").glob("*/index_metadata.pickle")
    return pickle.parent


@pytest.fixture
def index_folder() -> Callable[[Path], Path]:
    return index_of


def _manifest(data_dir: Path) -> Manifest:
    def file(path: Path) -> dict[str, object]:
        return {
            "path": str(path.relative_to(data_dir)),
            "size_bytes": path.stat().st_size,
            "sha256": sha256_of(path),
        }

    databases = [path for path in (data_dir / "webui.db", data_dir / "vector_db" / "chroma.sqlite3") if path.is_file()]
    index_files = sorted(each for each in (data_dir / "vector_db").glob("*/*") if each.is_file())
    facts = read_stage(data_dir)
    return Manifest(
        id="0a1b2c3d",
        instance="open-webui",
        fingerprint=facts.database.fingerprint,
        instant=datetime(2026, 11, 20, 3, 0, tzinfo=UTC),
        sequence=7,
        outcome=Outcome.COMPLETE,
        problems=(),
        warnings=(),
        tags=(),
        proof=ProofRecord(mode=Proof.LIVE, attempts=1),
        application=ApplicationRecord(
            version="0.12.4", alembic_head=facts.database.alembic_head, data_dir=facts.database.app_data_dir
        ),
        databases=tuple(DatabaseRecord(journal_mode="wal", **file(path)) for path in databases),  # type: ignore[arg-type]
        components=component_records(from_tree(data_dir)),
        vector_files=tuple(FileRecord(**file(path)) for path in index_files),  # type: ignore[arg-type]
        collections=examine(data_dir).collections,
        left_out=(),
        secret_key=SecretKeyRecord(found=True, source="a test"),
        created_by="owui_vault test",
    )


@pytest.fixture
def manifest_of() -> Callable[[Path], Manifest]:
    """Describes a data directory at rest as a snapshot would."""
    return _manifest


def _entries(data_dir: Path) -> list[Entry]:
    entries = [Entry(path="manifest.json", kind="file", size_bytes=1), Entry(path="data", kind="dir")]
    for path in sorted(data_dir.rglob("*"), reverse=True):
        kind = "symlink" if path.is_symlink() else "dir" if path.is_dir() else "file"
        size = path.lstat().st_size if kind == "file" else 0
        entries.append(Entry(path=f"data/{path.relative_to(data_dir)}", kind=kind, size_bytes=size))
    return entries


@pytest.fixture
def entries_of() -> Callable[[Path], list[Entry]]:
    """Lists a data directory as an engine would, in an order of its own."""
    return _entries


@pytest.fixture
def as_nobody(program: Callable[[str, str], Path]) -> Callable[[str, Path], str]:
    """Runs a script, with a path as its argument, as another user; answers its output."""
    setpriv = program("setpriv", "another user is needed")
    python = program("/usr/bin/python3", "the tests' own interpreter may not be run by another user")

    def run(script: str, path: Path) -> str:
        for folder in path.parents:
            if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
                folder.chmod(0o755)
        command = [str(setpriv), "--reuid=65534", "--clear-groups", str(python), "-c", script, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
