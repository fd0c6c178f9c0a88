"""Who runs on the data, where the key is, and what a backup of the directory would not cover."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from owui_vault.components.external_state import database_elsewhere, not_covered, providers
from owui_vault.errors import SecretError, UnsupportedInstanceError
from owui_vault.instance import runtime
from owui_vault.instance.application_settings import read_settings, settings_of_the_instance
from owui_vault.instance.runtime import inspect_environment
from owui_vault.instance.sqlite_library import has_wal_reset_bug
from owui_vault.model import Component, Providers, Secret
from owui_vault.operations.inspect import InspectRequest, inspect_instance

SERVER = """
import os, sqlite3, sys
connection = sqlite3.connect(os.path.join(sys.argv[1], "webui.db"))
connection.execute("SELECT count(*) FROM user").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def server(data_dir: Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Iterator[int]:
    """A process that has the database open, as a server has."""
    child = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(data_dir)],
        env=dict(environment or {}),
        cwd=cwd or "/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert child.stdout.readline()
        yield child.pid
    finally:
        child.stdin.close()
        child.wait(timeout=20)
        child.stdout.close()


def test_nobody_runs_and_the_key_lies_beside(left: Path) -> None:
    around = inspect_environment(left)
    assert not around.running
    assert around.key is not None
    assert around.key.source == str(left.parent / ".webui_secret_key")
    assert around.key.key.reveal() == (left.parent / ".webui_secret_key").read_text()
    assert around.warnings == ()


def test_a_running_server_is_found_by_what_it_has_open(left: Path) -> None:
    with server(left) as pid:
        around = inspect_environment(left)
    assert around.holders.pids == (pid,)
    assert around.running


def test_a_server_that_knows_the_data_by_another_path_is_found(left: Path, tmp_path: Path) -> None:
    (tmp_path / "door").symlink_to(left)
    with server(tmp_path / "door") as pid:
        assert inspect_environment(left).holders.pids == (pid,)


def test_an_equal_file_elsewhere_is_another_instance(left: Path, tmp_path: Path) -> None:
    shutil.copytree(left, tmp_path / "other")
    with server(tmp_path / "other"):
        assert not inspect_environment(left).running


def test_the_sqlite_of_the_server_is_known_and_of_nobody_it_is_not(left: Path, tmp_path: Path) -> None:
    """What writes the data is the application's SQLite, not ours."""
    with server(left):
        (library,) = inspect_environment(left).sqlite
        report = inspect_instance(InspectRequest(path=left, name="one", work_dir=tmp_path, modes=("live",)))
    assert library.version == sqlite3.sqlite_version
    assert report.sqlite == (library,)
    assert bool(report.notes) is has_wal_reset_bug(library.version)
    assert not [each for each in report.warnings if "SQLite" in each]
    assert inspect_environment(left).sqlite == ()


def test_the_environment_of_the_server_wins(left: Path) -> None:
    with server(left, {"WEBUI_SECRET_KEY": "from the environment", "DATA_DIR": "/app/backend/data"}) as pid:
        around = inspect_environment(left)
    assert around.key is not None
    assert around.key.key.reveal() == "from the environment"
    assert around.key.source == f"WEBUI_SECRET_KEY in the environment of process {pid}"
    assert around.app_data_dir == "/app/backend/data"


def test_the_old_variable_counts_and_an_empty_one_does_not(left: Path) -> None:
    with server(left, {"WEBUI_SECRET_KEY": "", "WEBUI_JWT_SECRET_KEY": "old"}):
        around = inspect_environment(left)
    assert around.key is not None
    assert around.key.key.reveal() == "old"


def test_the_file_the_environment_names(left: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("in a file\n")
    for named in (str(tmp_path / "key"), "key"):
        with server(left, {"WEBUI_SECRET_KEY_FILE": named}, cwd=tmp_path):
            around = inspect_environment(left)
        assert around.key is not None
        assert around.key.key.reveal() == "in a file\n"
        assert "WEBUI_SECRET_KEY_FILE" in around.key.source


def test_the_working_directory_of_the_server(left: Path, tmp_path: Path) -> None:
    (tmp_path / ".webui_secret_key").write_text("where it works")
    with server(left, cwd=tmp_path):
        around = inspect_environment(left)
    assert around.key is not None
    assert around.key.key.reveal() == "where it works"
    assert str(tmp_path) in around.key.source


def test_the_configured_key_wins_and_its_failure_is_told(left: Path) -> None:
    around = inspect_environment(left, secret_key=Secret("configured"))
    assert around.key is not None
    assert (around.key.key.reveal(), around.key.source) == ("configured", "instance.secret_key")

    class Broken:
        def reveal(self) -> str:
            raise SecretError("no")

    with pytest.raises(SecretError):
        inspect_environment(left, secret_key=Broken())


def test_no_key_at_all(left: Path) -> None:
    (left.parent / ".webui_secret_key").unlink()
    assert inspect_environment(left).key is None


@pytest.mark.parametrize("kind", ["empty", "directory", "fifo", "huge"])
def test_what_is_no_key_file_is_passed_over(left: Path, kind: str) -> None:
    path = left.parent / ".webui_secret_key"
    path.unlink()
    match kind:
        case "empty":
            path.write_text("\n")
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "huge":
            path.write_bytes(bytes(2 << 20))
    assert inspect_environment(left).key is None


def test_no_secret_is_shown_by_accident(left: Path) -> None:
    with server(left, {"WEBUI_SECRET_KEY": "s3cr3t-1", "OPENAI_API_KEY": "s3cr3t-2"}):
        around = inspect_environment(left, database_url="postgresql://u:s3cr3t-3@db/x")
    assert "s3cr3t" not in repr(around)
    assert "s3cr3t" not in " ".join((*around.warnings, around.unsupported))


def test_only_the_instances_own_settings_are_kept() -> None:
    environment = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "x",
        "SSH_AUTH_SOCK": "y",
        "WEBUI_URL": "z",
        "RAG_TOP_K": "3",
    }
    assert settings_of_the_instance(environment) == {"RAG_TOP_K": "3", "WEBUI_URL": "z"}


def test_what_the_running_package_reads_is_kept_and_nothing_of_the_machine(left: Path, tmp_path: Path) -> None:
    package = tmp_path / "backend" / "open_webui"
    (package / "utils").mkdir(parents=True)
    (package / "main.py").write_text("")
    (package / "env.py").write_text(
        "A = os.getenv('PASSWORD_HASH_ALGORITHM', 'bcrypt')\n"
        "B = os.environ.get(\n    'FORWARD_USER_INFO_HEADER_JWT_SECRET',\n    '')\n"
        'C = _int_env("SCHEDULER_POLL_INTERVAL", 10)\n'
        "os.environ['LD_LIBRARY_PATH'] = os.environ['PATH']\nprint('NOT_READ')\n"
    )
    (package / "utils" / "terminals.py").write_text("os.environ['TERMINAL_SERVER_CONNECTIONS']\n")
    settings = {
        "PASSWORD_HASH_ALGORITHM": "argon2",
        "FORWARD_USER_INFO_HEADER_JWT_SECRET": "j",
        "SCHEDULER_POLL_INTERVAL": "9",
        "TERMINAL_SERVER_CONNECTIONS": "[]",
        "HF_HOME": "/models",
    }
    machine = {
        "PATH": "/bin",
        "HOME": "/root",
        "LD_LIBRARY_PATH": "/x",
        "SSH_AUTH_SOCK": "s",
        "NOT_READ": "x",
        "RESTIC_PASSWORD": "s3cr3t",
        "BORG_PASSPHRASE": "s3cr3t",
        "OWUI_VAULT_PASSPHRASE": "s3cr3t",
    }
    with server(left, {**settings, **machine}, cwd=package.parent):
        assert dict(inspect_environment(left).settings) == settings


def test_settings_files_are_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# c\nexport A='1 # 2'\nB = \"x=y\"\nC=plain # comment\nnot a setting\n=\nD=\n")
    assert read_settings(tmp_path / ".env") == {"A": "1 # 2", "B": "x=y", "C": "plain", "D": ""}
    assert read_settings(tmp_path / "missing") == {}


def test_a_settings_file_beside_the_data_counts(left: Path) -> None:
    (left.parent / ".env").write_text("STORAGE_PROVIDER=s3\nVECTOR_DB=qdrant\nPATH=/x\n")
    around = inspect_environment(left)
    assert "an S3 bucket" in around.warnings[0]
    assert "Qdrant" in around.warnings[1]
    assert "PATH" not in around.settings


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://user:secret@db.example:5432/webui", "postgresql on db.example"),
        ("postgresql+psycopg2://db/webui", "postgresql on db"),
        ("mysql://[bad", "mysql on an unreadable address"),
        ("sqlite:////elsewhere/other.db", "SQLite at /elsewhere/other.db"),
        ("sqlite+sqlcipher:///x.db", "SQLite at /x.db"),
        ("sqlite://", "SQLite at nowhere (memory)"),
        ("", ""),
    ],
)
def test_a_database_elsewhere_is_named_without_its_password(url: str, text: str) -> None:
    assert database_elsewhere({"DATABASE_URL": url}, lambda _path: False) == text


def test_six_parts_override_the_url() -> None:
    parts = {f"DATABASE_{name}": name.lower() for name in ("TYPE", "USER", "PASSWORD", "HOST", "PORT", "NAME")}
    assert database_elsewhere({**parts, "DATABASE_URL": "sqlite:///x"}, lambda _path: True) == "type on host"


def test_postgres_is_refused_before_anything_is_touched(left: Path) -> None:
    around = inspect_environment(left, database_url="postgresql://u:p@db/webui")
    with pytest.raises(UnsupportedInstanceError, match="but postgresql on db") as caught:
        around.require_supported()
    assert "pg_dump" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "spelled", ["sqlite:///{path}", "sqlite:////app/backend/data/webui.db", "sqlite+aiosqlite:///{path}"]
)
def test_the_default_database_is_supported_however_it_is_spelled(left: Path, spelled: str) -> None:
    around = inspect_environment(left, database_url=spelled.format(path=left / "webui.db"))
    around.require_supported()
    assert around.unsupported == ""


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"STORAGE_PROVIDER": "gcs"}, "Google"),
        ({"STORAGE_PROVIDER": "azure"}, "Azure"),
        ({"VECTOR_DB": "pgvector"}, "PostgreSQL"),
        ({"VECTOR_DB": "milvus", "MILVUS_URI": "http://m:1"}, "Milvus server"),
        ({"VECTOR_DB": "milvus"}, "Milvus Lite file (vector_db/milvus.db)"),
        ({"VECTOR_DB": "milvus", "MILVUS_URI": "/else/milvus.db"}, "(/else/milvus.db): only in the data directory"),
        ({"VECTOR_DB": "chroma", "CHROMA_HTTP_HOST": "c"}, "Chroma server"),
        ({"VECTOR_DB": "newdb"}, "does not know"),
    ],
)
def test_what_lies_elsewhere_is_told(settings: dict[str, str], word: str) -> None:
    (text,) = not_covered(settings)
    assert word in text


def test_the_defaults_are_covered() -> None:
    assert list(not_covered({"STORAGE_PROVIDER": "local", "VECTOR_DB": "chroma"})) == []


def test_the_version_of_a_pip_install_is_known(tmp_path: Path, left: Path) -> None:
    package = tmp_path / "site-packages" / "open_webui"
    package.mkdir(parents=True)
    (tmp_path / "site-packages" / "open_webui-0.12.4.dist-info").mkdir()
    left.rename(package / "data")
    assert inspect_environment(package / "data").version == "0.12.4"


def test_the_version_of_an_image_is_known(left: Path, tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    (tmp_path / "package.json").write_text('{"name": "open-webui", "version": "0.6.43"}')
    with server(left, cwd=tmp_path / "backend"):
        assert inspect_environment(left).version == "0.6.43"


def test_inspect_tells_all_of_it(left: Path, tmp_path: Path) -> None:
    (left / "cache" / "whisper").mkdir()
    (left / "cache" / "whisper" / "model").write_bytes(bytes(5000))
    request = InspectRequest(path=left, name="home", work_dir=tmp_path / "work", modes=("live", "pause"))
    with server(left) as pid:
        report = inspect_instance(request)
    sizes = {each.name: each for each in report.components}
    assert sizes[Component.UPLOADS].files == 8
    assert sizes[Component.UPLOADS].included
    assert not sizes[Component.CACHE].included
    assert sizes[Component.CACHE].size_bytes > 5000
    assert {"audit.log", "cache/audio", "cache/whisper"} == {each.path for each in report.left_out}
    assert (report.running, report.processes) == (True, (pid,))
    assert report.alembic_head in ("0bd252b206fb", "c440947495f3")
    assert report.stage == tmp_path / "work" / "stage"
    assert report.secret_key.found
    assert report.warnings == ()


def test_inspect_follows_components_and_nothing_else(left: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in ("uploads", "webui.db"):
        (left / name).rename(tmp_path / "disk" / name)
        (left / name).symlink_to(tmp_path / "disk" / name)
    (left / "webui.db-wal").unlink(missing_ok=True)
    (left / "link-out").symlink_to("/usr")
    (left / ".owui-vault").mkdir()
    (left / ".owui-vault" / "stage").write_bytes(bytes(1 << 20))
    report = inspect_instance(InspectRequest(path=left, name="x", work_dir=tmp_path, modes=()))
    sizes = {each.name: each for each in report.components}
    assert sizes[Component.UPLOADS].files == 8
    assert sizes[Component.DATABASE].size_bytes >= (tmp_path / "disk" / "webui.db").stat().st_size
    assert (sizes[Component.OTHER].files, sizes[Component.OTHER].size_bytes) == (1, 0)


def test_inspect_tells_of_damage_and_buckets(newest: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(newest / "webui.db")) as connection:
        connection.execute("INSERT INTO file (id, path) VALUES ('s', 's3://bucket/x')")
        connection.commit()
    request = InspectRequest(path=newest, name="x", work_dir=tmp_path, modes=())
    assert "1 uploads are in a bucket" in inspect_instance(request).warnings[-1]
    content = bytearray((newest / "webui.db").read_bytes())
    content[100:4096] = b"\xff" * 3996
    (newest / "webui.db").write_bytes(content)
    assert "webui.db is damaged" in inspect_instance(request).warnings[0]


def test_inspect_warns_of_what_would_be_lost(left: Path, tmp_path: Path) -> None:
    (left.parent / ".webui_secret_key").unlink()
    shutil.rmtree(left / "vector_db")
    request = InspectRequest(
        path=left,
        name="home",
        work_dir=tmp_path,
        modes=(),
        exclude=("uploads/*.bin",),
        database_url="postgresql://db/x",
    )
    text = "\n".join(inspect_instance(request).warnings)
    for words in ("postgresql on db", "no vector store", "secret key was not found", "parts of uploads/"):
        assert words in text


@pytest.mark.root
@pytest.mark.parametrize(("where", "words"), [("data", "the data are"), ("vector_db", "the vectors are"), ("", "")])
def test_a_network_file_system_below_a_database_is_told_once(
    left: Path, monkeypatch: pytest.MonkeyPatch, where: str, words: str
) -> None:
    kinds = {"data": "nfs" if where == "data" else "ext4", "vector_db": "nfs" if where else "ext4"}
    monkeypatch.setattr(runtime, "filesystem_type", lambda path: kinds[path.name])
    told = [each for each in inspect_environment(left).warnings if "network" in each]
    assert [each.partition(" on ")[0] for each in told] == ([words] if words else [])


def test_without_rights_what_could_not_be_seen_is_told(left: Path, as_nobody: Callable[[str, Path], str]) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom owui_vault.instance.runtime import inspect_environment\n"
        "print(inspect_environment(Path(sys.argv[1])).warnings)\n"
    )
    with server(left):
        assert "Run as root, or as its user" in as_nobody(script, left)


def test_without_rights_inspect_knows_that_it_cannot_know_and_names_the_closed_folder(
    left: Path, as_nobody: Callable[[str, Path], str]
) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from owui_vault.operations.inspect import InspectRequest, inspect_instance\n"
        "request = InspectRequest(path=Path(sys.argv[1]), name='x', work_dir=Path('/nowhere'), modes=())\n"
        "report = inspect_instance(request)\nprint(report.running_is_known, report.warnings)\n"
    )
    (left / "uploads").chmod(0o700)
    told = as_nobody(script, left)
    assert told.startswith("False ")
    assert "uploads/ cannot be read by this user" in told


def test_providers_are_named_as_open_webui_names_them() -> None:
    assert providers({}, "") == Providers(database="sqlite", vectors="chroma", storage="local")
    settings = {"VECTOR_DB": "PGVECTOR", "STORAGE_PROVIDER": "S3", "CHROMA_HTTP_HOST": "c"}
    assert providers(settings, "postgresql on db") == Providers(
        database="postgresql on db", vectors="pgvector", storage="s3"
    )
    assert providers({"CHROMA_HTTP_HOST": "c"}, "").vectors == "chroma server on c"


def test_inspect_shows_the_providers_of_a_running_server(left: Path, tmp_path: Path) -> None:
    with server(left, {"VECTOR_DB": "qdrant", "STORAGE_PROVIDER": "gcs"}):
        request = InspectRequest(path=left, name="x", work_dir=tmp_path / "work", modes=("auto",))
        assert inspect_instance(request).providers == Providers(vectors="qdrant", storage="gcs")
