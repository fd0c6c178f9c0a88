"""The settings an Open WebUI was started with, and which of them say that state lies elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from owui_vault.instance.names import DATABASE
from owui_vault.instance.processes import read_small
from owui_vault.model import Providers

# What is kept of a process's environment: names that Open WebUI, its libraries or its image read. A shell's own
# variables, and whatever else the operator's session held, are not the instance's.
_NAMES = """
    ANONYMIZED_TELEMETRY CORS_ALLOW_ORIGIN DATA_DIR DOCKER DO_NOT_TRACK ENV FORWARDED_ALLOW_IPS GLOBAL_LOG_LEVEL HOST
    K8S_FLAG LICENSE_BLOB_PATH LICENSE_KEY OFFLINE_MODE PORT RESET_CONFIG_ON_START SAFE_MODE SCARF_NO_ANALYTICS
    SHOW_ADMIN_DETAILS SRC_LOG_LEVELS STATIC_DIR THREAD_POOL_SIZE TZ VECTOR_DB
"""
_PREFIXES = """
    AIOHTTP_ AUDIO_ AUDIT_ AUTOMATIC1111_ AZURE_ BING_ BOCHA_ BRAVE_ BYPASS_ CHAT_ CHROMA_ CODE_ COMFYUI_ CUSTOM_
    DATABASE_ DEFAULT_ DOCLING_ DOCUMENT_ ELASTICSEARCH_ ENABLE_ EXA_ EXTERNAL_ FEISHU_ FIRECRAWL_ FUNCTIONS_ GCS_
    GEMINI_ GITHUB_ GOOGLE_ HF_ IMAGES_ IMAGE_ JINA_ JWT_ KAGI_ LDAP_ MARIADB_ MCP_ MFA_ MICROSOFT_ MILVUS_ MISTRAL_
    MODEL_ MOJEEK_ OAUTH_ OLLAMA_ OPENAI_ OPENGAUSS_ OPENID_ OPENSEARCH_ ORACLE_ OTEL_ PDF_ PERPLEXITY_ PGVECTOR_
    PINECONE_ PLAYWRIGHT_ QDRANT_ QUERY_ RAG_ REDIS_ RESPONSE_ S3_ SCIM_ SEARCHAPI_ SEARXNG_ SENTENCE_TRANSFORMERS_
    SERPAPI_ SERPER_ SERPLY_ SERPSTACK_ STORAGE_ TAGS_ TASK_ TAVILY_ TIKA_ TIKTOKEN_ TITLE_ TOOLS_ TOOL_ TRUSTED_ TTS_
    USERS_ USER_ USE_ UVICORN_ VALKEY_ VOICE_ WEAVIATE_ WEBHOOK_ WEBSOCKET_ WEBUI_ WEB_ WHISPER_ YACY_ YOUTUBE_
"""
_KEPT_NAMES = frozenset(_NAMES.split())
_KEPT_PREFIXES = tuple(_PREFIXES.split())
_SETTING = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_URL_PARTS = ("DATABASE_TYPE", "DATABASE_USER", "DATABASE_PASSWORD", "DATABASE_HOST", "DATABASE_PORT", "DATABASE_NAME")
_EXTERNAL_VECTORS = {
    "elasticsearch": "Elasticsearch",
    "mariadb-vector": "MariaDB",
    "opengauss": "openGauss",
    "opensearch": "OpenSearch",
    "oracle23ai": "Oracle",
    "pgvector": "PostgreSQL (pgvector)",
    "pinecone": "Pinecone",
    "qdrant": "Qdrant",
    "s3vector": "Amazon S3 Vectors",
    "valkey": "Valkey",
    "weaviate": "Weaviate",
}
_OWN_TOOLS = "save them with its own tools"
_BUCKETS = {"s3": "an S3 bucket", "gcs": "a Google Cloud Storage bucket", "azure": "an Azure container"}


def settings_of_the_instance(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that belongs to Open WebUI, sorted by name."""
    kept = {name for name in environment if name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)}
    return {name: environment[name] for name in sorted(kept)}


def read_settings(path: Path) -> dict[str, str]:
    """The settings of a `.env` file, quotes removed; empty where there is none."""
    return settings_in(read_small(path))


def settings_in(text: str) -> dict[str, str]:
    """The settings in the text of a `.env` file, quotes removed."""
    found = {}
    for line in text.splitlines():
        match = _SETTING.fullmatch(line)
        if match:
            value = match[2]
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[match[1]] = value[1:-1] if quoted else value.partition(" #")[0].rstrip()
    return found


def database_elsewhere(settings: Mapping[str, str], is_ours: Callable[[str], bool]) -> str:
    """Where the main database lies, when it is not `webui.db` of this data directory; empty when it is.

    `is_ours` answers whether a path, as the application sees it, is that file. No password is repeated.
    """
    if all(settings.get(name) for name in _URL_PARTS):
        return f"{settings['DATABASE_TYPE']} on {settings['DATABASE_HOST']}"  # all six override DATABASE_URL
    url = settings.get("DATABASE_URL", "")
    if not url:
        return ""
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme == "sqlite":
        path = unquote(url.partition("://")[2].partition("?")[0].removeprefix("/"))
        return "" if is_ours(path) else f"SQLite at {path or 'nowhere (memory)'}"
    try:
        host = urlsplit(url).hostname or "this machine"
    except ValueError:
        host = "an unreadable address"
    return f"{scheme or 'an unknown kind'} on {host}"


def providers(settings: Mapping[str, str], database_elsewhere: str) -> Providers:
    """Where the state is kept, by the names Open WebUI itself has for them; its defaults where nothing is set."""
    store = settings.get("VECTOR_DB", "").lower() or "chroma"
    if store == "chroma" and settings.get("CHROMA_HTTP_HOST"):
        store = f"chroma server on {settings['CHROMA_HTTP_HOST']}"
    return Providers(
        database=database_elsewhere or "sqlite",
        vectors=store,
        storage=settings.get("STORAGE_PROVIDER", "").lower() or "local",
    )


def not_covered(settings: Mapping[str, str]) -> Iterator[str]:
    """What the instance keeps where a backup of its data directory does not reach."""
    provider = settings.get("STORAGE_PROVIDER", "").lower()
    if provider not in ("", "local"):
        yield (
            f"uploads lie in {_BUCKETS.get(provider, provider)} (STORAGE_PROVIDER={provider}) and are NOT covered:"
            " uploads/ is only a cache. Turn on versioning or backups of the bucket"
        )
    store = settings.get("VECTOR_DB", "").lower()
    if store in _EXTERNAL_VECTORS:
        yield f"vectors lie in {_EXTERNAL_VECTORS[store]} (VECTOR_DB={store}) and are NOT covered: {_OWN_TOOLS}"
    elif store == "milvus" and "://" in settings.get("MILVUS_URI", ""):
        yield f"vectors lie in a Milvus server (MILVUS_URI) and are NOT covered: {_OWN_TOOLS}"
    elif store == "milvus":
        place = settings.get("MILVUS_URI") or "vector_db/milvus.db"
        yield (
            f"vectors lie in a Milvus Lite file ({place}): only in the data directory is it copied, as any other file"
            " is, and its content is not checked"
        )
    elif settings.get("CHROMA_HTTP_HOST"):
        yield "vectors lie in a Chroma server (CHROMA_HTTP_HOST) and are NOT covered: save its directory there"
    elif store not in ("", "chroma"):
        yield f"vectors lie in {store} (VECTOR_DB), which this program does not know: they may not be covered"


def is_default_database(path: str) -> bool:
    """Whether a path could be the default one; for when the application's view cannot be asked."""
    return path.rpartition("/")[2] == DATABASE
