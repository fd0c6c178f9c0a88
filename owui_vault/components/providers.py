"""Where an instance keeps its database, vectors and uploads, according to its settings and the application's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import unquote, urlsplit

from owui_vault.components.names import DATABASE
from owui_vault.model import Providers

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
    return settings.get("VECTOR_DB", "").lower() or ("pgvector" if _is_slim(settings) else "chroma")


def _is_slim(settings: Mapping[str, str]) -> bool:
    return settings.get("USE_SLIM_DOCKER", "").lower() == "true"


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
        at = _address(settings, (*told_by, *(("DATABASE_URL", "DATABASE_HOST") if store == "pgvector" else ())))
        yield f"vectors are in {name} ({at}{why}) and are NOT covered: {_OWN_TOOLS}"
    elif store == "milvus" and "://" in settings.get("MILVUS_URI", ""):
        at = _address(settings, ("MILVUS_URI",))
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
        at = _address(settings, ("CHROMA_HTTP_HOST",))
        yield f"vectors are in a Chroma server ({at}CHROMA_HTTP_HOST) and are NOT covered: back up its directory there"


def _address(settings: Mapping[str, str], told_by: tuple[str, ...]) -> str:
    """Where a store is, as the first of these settings says it; empty where none does."""
    found = next((settings[name] for name in told_by if settings.get(name)), "")
    host = host_of(found)
    return f"{host}, " if host else ""


def is_default_database(path: str) -> bool:
    """Whether a path could be the default one; for when the application's view cannot be asked."""
    return path.rpartition("/")[2] == DATABASE
