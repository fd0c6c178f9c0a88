"""Where an instance keeps its database, vectors and uploads, by the rules of the application itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from owui_vault.components.external_state import database_elsewhere, not_covered, providers
from owui_vault.errors import UnsupportedInstanceError
from owui_vault.instance.processes import _starts_open_webui
from owui_vault.instance.runtime import inspect_environment
from owui_vault.operations.inspect import InspectRequest, inspect_instance

POSTGRES = {
    "DATABASE_TYPE": "postgresql",
    "DATABASE_USER": "webui",
    "DATABASE_PASSWORD": "s3cr3t",
    "DATABASE_HOST": "db",
    "DATABASE_PORT": "5432",
    "DATABASE_NAME": "webui",
}


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in POSTGRES.items() if name not in names}


def emptied(name: str) -> dict[str, str]:
    return {**POSTGRES, name: ""}


@pytest.mark.parametrize(
    "settings",
    [
        POSTGRES,
        without("DATABASE_PASSWORD"),
        emptied("DATABASE_PASSWORD"),
        without("DATABASE_USER"),
        {**without("DATABASE_PASSWORD"), "DATABASE_ENABLE_IAM_TOKEN_AUTH": "true"},
        {**without("DATABASE_PASSWORD"), "DATABASE_URL": "sqlite:////data/webui.db"},
    ],
)
def test_a_server_is_named_whether_or_not_it_wants_a_password(settings: dict[str, str]) -> None:
    assert database_elsewhere(settings, lambda _path: True) == "postgresql on db"


@pytest.mark.parametrize(
    "settings",
    [
        without("DATABASE_TYPE"),
        without("DATABASE_HOST"),
        without("DATABASE_PORT"),
        emptied("DATABASE_NAME"),
        without("DATABASE_USER", "DATABASE_PASSWORD"),
    ],
)
def test_parts_that_the_application_ignores_are_ignored_and_told(settings: dict[str, str]) -> None:
    assert database_elsewhere(settings, lambda _path: True) == ""
    told = " ".join(not_covered(settings))
    if settings.get("DATABASE_TYPE"):
        assert "Open WebUI ignores DATABASE_TYPE=postgresql" in told
    else:
        assert told == ""


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgres://db/webui", "postgresql on db"),
        ("postgresql:///webui?host=/var/run/postgresql", "postgresql on this machine"),
        ("postgresql+asyncpg://u:p%40@10.0.0.7:5432/x", "postgresql on 10.0.0.7"),
        ("POSTGRESQL://db/x", "postgresql on db"),
        ("postgresql://u:pa/ss@db:5432/x", "postgresql on an unreadable address"),
        ("sqlite+aiosqlite:////elsewhere/other.db", "SQLite at /elsewhere/other.db"),
        ("sqlite:///:memory:", "SQLite at nowhere (memory)"),
    ],
)
def test_every_form_of_a_url(url: str, text: str) -> None:
    assert database_elsewhere({"DATABASE_URL": url}, lambda _path: False) == text


def test_a_path_of_sqlcipher_is_taken_as_the_application_takes_it() -> None:
    for url in ("sqlite+sqlcipher:////app/webui.db", "sqlite+sqlcipher:///app/webui.db"):
        ours = database_elsewhere({"DATABASE_URL": url}, lambda path: path == "/app/webui.db")
        assert ours == ""


def test_the_slim_image_keeps_its_vectors_in_postgres() -> None:
    slim = {"USE_SLIM_DOCKER": "True"}
    assert providers(slim, "").vectors == "pgvector"
    (text,) = not_covered(slim)
    assert "PostgreSQL (pgvector)" in text
    assert "slim image" in text
    assert providers({**slim, "VECTOR_DB": "chroma"}, "").vectors == "chroma"
    assert providers({"USE_SLIM_DOCKER": "false"}, "").vectors == "chroma"


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"VECTOR_DB": "qdrant", "QDRANT_URI": "https://key:s3cr3t@q.example:6333/x?api_key=s3cr3t"}, "q.example:6333"),
        ({"VECTOR_DB": "pgvector", "PGVECTOR_DB_URL": "postgresql://u:s3cr3t@v.example/x"}, "v.example"),
        ({"VECTOR_DB": "pgvector", "DATABASE_URL": "postgresql://u:s3cr3t@d.example/x"}, "d.example"),
        ({"VECTOR_DB": "weaviate", "WEAVIATE_HTTP_HOST": "w.example"}, "w.example"),
        ({"VECTOR_DB": "opensearch", "OPENSEARCH_URI": "https://o.example"}, "o.example"),
        ({"VECTOR_DB": "milvus", "MILVUS_URI": "http://m.example:19530", "MILVUS_TOKEN": "s3cr3t"}, "m.example:19530"),
        ({"VECTOR_DB": "s3vector", "S3_VECTOR_BUCKET_NAME": "vectors-of-mine"}, "vectors-of-mine"),
        ({"CHROMA_HTTP_HOST": "c.example", "CHROMA_HTTP_AUTH_CREDENTIALS": "s3cr3t"}, "c.example"),
    ],
)
def test_a_vector_store_elsewhere_is_named_with_its_address_and_no_secret(settings: dict[str, str], where: str) -> None:
    (text,) = not_covered(settings)
    assert where in text
    assert "NOT covered" in text
    assert "s3cr3t" not in text


def test_a_store_elsewhere_is_not_said_to_be_no_store(newest: Path, tmp_path: Path) -> None:
    for path in sorted((newest / "vector_db").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (newest / "vector_db").rmdir()
    (newest.parent / ".env").write_text("VECTOR_DB=qdrant\nQDRANT_URI=http://q:6333\n")
    text = "\n".join(inspect_instance(InspectRequest(path=newest, name="x", work_dir=tmp_path, modes=())).warnings)
    assert "vectors are in Qdrant (q:6333" in text
    assert "no vector store" not in text


SERVER = """
import sys
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("argv", "is_one"),
    [
        (("/opt/venv/bin/python", "/opt/venv/bin/open-webui", "serve"), True),
        (("open-webui", "serve", "--port", "8080"), True),
        (("python", "-m", "open_webui", "serve"), True),
        (("/usr/local/bin/python3", "-m", "uvicorn", "open_webui.main:app", "--workers", "1"), True),
        (("uvicorn", "open_webui.main:app"), True),
        (("python", "-m", "owui_vault", "snapshot", "--container", "open-webui"), False),
        (("owui-vault", "--data-dir", "/opt/open-webui/data", "snapshot"), False),
        (("tail", "-f", "/var/log/open-webui"), False),
        (("/usr/bin/open-webui", "--version"), False),
        (("restic", "serve", "/srv/open-webui"), False),
        ((), False),
    ],
)
def test_only_the_server_itself_is_taken_for_one(argv: tuple[str, ...], is_one: bool) -> None:
    assert _starts_open_webui(argv) is is_one


def test_a_server_with_its_database_elsewhere_is_found_though_it_has_nothing_open(newest: Path, tmp_path: Path) -> None:
    """What it left when it moved to Postgres is months old."""
    (tmp_path / "open-webui").write_text(SERVER)
    settings = {**without("DATABASE_PASSWORD"), "VECTOR_DB": "pgvector", "DATA_DIR": str(newest)}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "open-webui"), "serve"],
        env=settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline()
        around = inspect_environment(newest)
        child.stdin.close()
        child.wait(timeout=20)
    with pytest.raises(UnsupportedInstanceError, match="postgresql on db"):
        around.require_supported()
    assert around.settings["VECTOR_DB"] == "pgvector"
