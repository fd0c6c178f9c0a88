"""Where an instance keeps what is not in its data directory: by its settings, and with other programs.

A snapshot holds their addresses, like everything in the database, but not their content. Only host and port of an
address are repeated: user, password, path and query may be secrets.
"""

from __future__ import annotations

import json
import posixpath
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from owui_vault.components.names import DATABASE
from owui_vault.components.sqlite_files import column_names
from owui_vault.model import Providers

_TERMINALS = "terminal_server.connections"
_OPENAI = "openai.api_base_urls"
_JUPYTER = ("code_interpreter.jupyter.url", "code_execution.jupyter.url")
_KNOWLEDGE = "external_knowledge.connections"
_KEYS = (_TERMINALS, _OPENAI, *_JUPYTER, _KNOWLEDGE)
_PIPELINES_PORT = ":9099"  # their image's own; nothing else tells them from any other server of models
_UNKNOWN = "an unknown address"
# Settings that name files or folders, and what is there (env.py and config.py of 0.12.4).
_PATHS = {
    "AIOHTTP_CLIENT_SSL_CERT_FILE": "a TLS certificate",
    "AUDIT_LOGS_FILE_PATH": "the audit log",
    "ELASTICSEARCH_CA_CERTS": "a TLS certificate",
    "LDAP_CA_CERT_FILE": "a TLS certificate",
    "LICENSE_BLOB_PATH": "the licence",
    "MILVUS_SERVER_PEM_PATH": "a TLS certificate",
    "ORACLE_WALLET_DIR": "a wallet",
    "SEARXNG_CLIENT_CERT_FILE": "a TLS certificate",
    "SEARXNG_CLIENT_KEY_FILE": "a TLS key",
    "SENTENCE_TRANSFORMERS_HOME": "downloaded models",
    "TIKTOKEN_CACHE_DIR": "downloaded models",
    "WHISPER_MODEL_DIR": "downloaded models",
}
_SQLCIPHER = "sqlite+sqlcipher"
_UNREADABLE = "an unreadable address"
_OWN_TOOLS = "back them up with its own tools"
_BUCKETS = {
    "s3": ("an S3 bucket", "S3_BUCKET_NAME"),
    "gcs": ("a Google Cloud Storage bucket", "GCS_BUCKET_NAME"),
    "azure": ("an Azure container", "AZURE_STORAGE_CONTAINER_NAME"),
}
# What each vector database is called, and the settings that say where it is (config.py of 0.12.4).
_EXTERNAL_VECTORS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "elasticsearch": ("Elasticsearch", ("ELASTICSEARCH_CLOUD_ID", "ELASTICSEARCH_URL")),
    "mariadb-vector": ("MariaDB", ("MARIADB_VECTOR_DB_URL",)),
    "opengauss": ("openGauss", ("OPENGAUSS_DB_URL",)),
    "opensearch": ("OpenSearch", ("OPENSEARCH_URI",)),
    "oracle23ai": ("Oracle", ("ORACLE_DB_DSN",)),
    "pgvector": ("PostgreSQL (pgvector)", ("PGVECTOR_DB_URL",)),
    "pinecone": ("Pinecone", ("PINECONE_INDEX_NAME",)),
    "qdrant": ("Qdrant", ("QDRANT_URI",)),
    "s3vector": ("Amazon S3 Vectors", ("S3_VECTOR_BUCKET_NAME",)),
    "valkey": ("Valkey", ("VALKEY_URL",)),
    "weaviate": ("Weaviate", ("WEAVIATE_HTTP_HOST",)),
}


@dataclass(frozen=True, slots=True, order=True)
class Neighbour:
    """A program that holds something of the instance's."""

    kind: str
    address: str
    holds: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.address} holds {self.holds}: NOT covered, back it up there"


def read_neighbours(connection: sqlite3.Connection) -> tuple[Neighbour, ...]:
    """Those that the settings in `webui.db` name."""
    columns = column_names(connection, "config")
    if {"key", "value"} <= columns:
        marks = ", ".join("?" * len(_KEYS))
        query = f"SELECT key, value FROM config WHERE key IN ({marks})"  # noqa: S608 - marks only
        return neighbours({str(key): _parsed(value) for key, value in connection.execute(query, _KEYS)}, {})
    if "data" in columns:  # one row with everything, before 0.7
        rows = connection.execute("SELECT data FROM config ORDER BY rowid DESC LIMIT 1").fetchall()
        config = _parsed(rows[0][0]) if rows else None
        return neighbours({key: _below(config, key.split(".")) for key in _KEYS}, {})
    return ()


def neighbours(config: Mapping[str, object], settings: Mapping[str, str]) -> tuple[Neighbour, ...]:
    """Those that rows of `config`, parsed, and settings of the environment name: each once, sorted."""
    terminals = (config.get(_TERMINALS), _parsed(settings.get("TERMINAL_SERVER_CONNECTIONS", "")))
    models = [config.get(_OPENAI), settings.get("OPENAI_API_BASE_URLS", "").split(";")]
    models.append([settings.get("OPENAI_API_BASE_URL", "")])
    jupyter = [config.get(key) for key in _JUPYTER]
    jupyter += [settings.get(f"CODE_{each}_JUPYTER_URL", "") for each in ("INTERPRETER", "EXECUTION")]
    found = {
        *(_terminal(each) for value in terminals for each in _objects(value)),
        *(_knowledge(each) for each in _objects(config.get(_KNOWLEDGE))),
        *(_pipelines(each) for value in models if isinstance(value, list) for each in value),
        *(_jupyter(each) for each in jupyter),
    }
    return tuple(sorted(each for each in found if each))


def neighbour_sentences(found: Iterable[Neighbour]) -> tuple[str, ...]:
    """One sentence each."""
    return tuple(str(each) for each in dict.fromkeys(found))


def _terminal(connection: Mapping[str, object]) -> Neighbour:
    orchestrates = connection.get("server_type") == "orchestrator" or connection.get("policy_id")
    configured = connection.get("config")
    takes_uploads = isinstance(configured, dict) and configured.get("chat_uploads") == "filesystem"
    return Neighbour(
        "Terminals" if orchestrates else "Open Terminal",
        _address(connection.get("url")),
        "files of people and their agents" + (" (uploads of chats go there, and not to uploads/)" * takes_uploads),
    )


def _knowledge(connection: Mapping[str, object]) -> Neighbour:
    return Neighbour("external knowledge", _address(connection.get("endpoint")), "documents that are searched there")


def _pipelines(url: object) -> Neighbour | None:
    host = _address(url)
    if host.endswith(_PIPELINES_PORT) or "pipelines" in host:
        return Neighbour("Pipelines", host, "the code and valves of its pipelines")
    return None


def _jupyter(url: object) -> Neighbour | None:
    return Neighbour("Jupyter", _address(url), "notebooks and files of code that ran") if url else None


def _address(url: object) -> str:
    host = host_of(url) if isinstance(url, str) and url else ""
    return host if host and host.isprintable() else _UNKNOWN


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def _parsed(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str | bytes) else value
    except (ValueError, RecursionError):
        return None


def _below(value: object, path: list[str]) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def paths_elsewhere(settings: Mapping[str, str], data_dir: str) -> Iterator[str]:
    """Settings whose files are outside the data directory, given as the application sees it."""
    for name, what in _PATHS.items():
        path = settings.get(name, "").strip()
        is_off = name == "AUDIT_LOGS_FILE_PATH" and settings.get("ENABLE_AUDIT_LOGS_FILE", "true").lower() != "true"
        if path and not is_off and not _is_inside(path, data_dir):
            shown = path if path.isprintable() else repr(path)
            yield f"{name}={shown}: {what} there, outside the data directory, NOT covered"


def _is_inside(path: str, data_dir: str) -> bool:
    plain = posixpath.normpath(path)
    return bool(data_dir) and f"{plain}/".startswith(f"{posixpath.normpath(data_dir)}/")


def database_elsewhere(settings: Mapping[str, str], is_ours: Callable[[str], bool]) -> str:
    """Where the main database is, when it is not `webui.db` of this data directory; empty when it is.

    `is_ours` returns whether a path, as the application sees it, is that file. No password is repeated.
    """
    kind = settings.get("DATABASE_TYPE", "")
    if _parts_count(settings):
        return f"{kind} on {settings['DATABASE_HOST']}"
    url = settings.get("DATABASE_URL", "")
    if not url:
        return ""
    scheme, _, rest = url.partition("://")
    scheme = scheme.partition(":")[0].partition("+")[0].lower()
    if scheme == "sqlite":
        # SQLAlchemy takes one slash away; for SQLCipher the application takes none.
        path = f"/{rest.lstrip('/')}" if is_encrypted(settings) else unquote(rest.partition("?")[0].removeprefix("/"))
        path = "" if path == ":memory:" else path
        return "" if is_ours(path) else f"SQLite at {path or 'nowhere (memory)'}"
    host = host_of(url).partition(":")[0] if "://" in url else _UNREADABLE
    return f"{'postgresql' if scheme == 'postgres' else scheme or 'an unknown kind'} on {host or 'this machine'}"


def _parts_count(settings: Mapping[str, str]) -> bool:
    """Whether the parts win over `DATABASE_URL`. A user needs no password: trust, a peer, `.pgpass`, a token of IAM."""
    has_credentials = settings.get("DATABASE_USER") or settings.get("DATABASE_PASSWORD")
    return bool(has_credentials) and all(settings.get(f"DATABASE_{part}") for part in ("TYPE", "HOST", "PORT", "NAME"))


def is_encrypted(settings: Mapping[str, str]) -> bool:
    """Whether the main database is a file of SQLCipher's, which Open WebUI could use up to 0.8."""
    if _parts_count(settings):
        return False
    url = settings.get("DATABASE_URL", "")
    return url.startswith(f"{_SQLCIPHER}:") or (not url and settings.get("DATABASE_TYPE", "") == _SQLCIPHER)


def host_of(address: str) -> str:
    """Host and port of an address, and nothing else of it: user, password, path and query may hold secrets."""
    text = address if "://" in address else f"//{address}"
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return _UNREADABLE
    if "@" in parts.path:  # a password with an unquoted slash: what seems to be the host is the user
        return _UNREADABLE
    return f"{parts.hostname or ''}{port}"


def providers(settings: Mapping[str, str], database_elsewhere: str) -> Providers:
    """Where the state is kept, by the names Open WebUI itself has for them; its defaults where nothing is set."""
    store = _vector_store(settings)
    if store == "chroma" and settings.get("CHROMA_HTTP_HOST"):
        store = f"chroma server on {host_of(settings['CHROMA_HTTP_HOST'])}"
    return Providers(
        database=database_elsewhere or ("sqlcipher" if is_encrypted(settings) else "sqlite"),
        vectors=store,
        storage=settings.get("STORAGE_PROVIDER", "").lower() or "local",
    )


def _vector_store(settings: Mapping[str, str]) -> str:
    """The slim image (since 0.11.4) has no Chroma: its default is Postgres."""
    is_slim = settings.get("USE_SLIM_DOCKER", "").lower() == "true"
    return settings.get("VECTOR_DB", "").lower() or ("pgvector" if is_slim else "chroma")


def not_covered(settings: Mapping[str, str]) -> Iterator[str]:
    """What of database, vectors and uploads a backup of the data directory does not reach, one sentence each."""
    kind = settings.get("DATABASE_TYPE", "")
    if kind not in ("", "sqlite", _SQLCIPHER) and not _parts_count(settings):
        yield (
            f"Open WebUI ignores DATABASE_TYPE={kind}, since it needs host, port, name and a user or password as well:"
            " what counts is DATABASE_URL, or webui.db without it"
        )
    provider = settings.get("STORAGE_PROVIDER", "").lower()
    if provider not in ("", "local"):
        kind, told_by = _BUCKETS.get(provider, (provider, ""))
        name = f"{settings[told_by]}, " if settings.get(told_by) else ""
        yield (
            f"uploads are in {kind} ({name}STORAGE_PROVIDER={provider}) and are NOT covered: uploads/ is only a cache."
            " Turn on versioning or backups of the bucket"
        )
    yield from _vectors_not_covered(settings)


def _vectors_not_covered(settings: Mapping[str, str]) -> Iterator[str]:
    store = _vector_store(settings)
    if store in _EXTERNAL_VECTORS:
        name, told_by = _EXTERNAL_VECTORS[store]
        why = f"VECTOR_DB={store}" if settings.get("VECTOR_DB") else "the default of the slim image"
        at = _address_in(settings, (*told_by, *(("DATABASE_URL", "DATABASE_HOST") if store == "pgvector" else ())))
        yield f"vectors are in {name} ({at}{why}) and are NOT covered: {_OWN_TOOLS}"
    elif store == "milvus" and "://" in settings.get("MILVUS_URI", ""):
        at = _address_in(settings, ("MILVUS_URI",))
        yield f"vectors are in a Milvus server ({at}MILVUS_URI) and are NOT covered: {_OWN_TOOLS}"
    elif store == "milvus":
        place = settings.get("MILVUS_URI") or "vector_db/milvus.db"
        yield (
            f"vectors are in a Milvus Lite file ({place}): only in the data directory it is copied, as any other file"
            " is, and its content is not checked"
        )
    elif store != "chroma":
        yield f"vectors are in {store} (VECTOR_DB), which this program does not know: they may not be covered"
    elif settings.get("CHROMA_HTTP_HOST"):
        at = _address_in(settings, ("CHROMA_HTTP_HOST",))
        yield f"vectors are in a Chroma server ({at}CHROMA_HTTP_HOST) and are NOT covered: back up its directory there"


def _address_in(settings: Mapping[str, str], told_by: tuple[str, ...]) -> str:
    """Where a store is, as the first of these settings says it; empty where none does."""
    found = next((settings[name] for name in told_by if settings.get(name)), "")
    host = host_of(found)
    return f"{host}, " if host else ""


def is_default_database(path: str) -> bool:
    """Whether a path could be the default one; for when the application's view cannot be asked."""
    return path.rpartition("/")[2] == DATABASE
