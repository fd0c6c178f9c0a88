"""The settings an Open WebUI was started with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from owui_vault.instance.processes import read_small

# What is kept of a process's environment besides what its package is seen to read: names of Open WebUI's libraries, of
# its image, and where the package is not known its own. A shell's variables, and whatever else the operator's session
# held, are not the instance's.
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
_OF_THE_MACHINE = frozenset(
    {"HOME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PWD", "PYTHONPATH", "SHELL", "TMPDIR", "USER"}
)
# `os.getenv("X")`, `os.environ.get("X")`, `os.environ["X"]`, and helpers such as `_int_env("X", 1)` of env.py
_READ = re.compile(r"""(?:env\w*|environ\.\w+)[(\[]\s*['"]([A-Z][A-Z0-9_]*)['"]""")
_WITHOUT_CODE = frozenset({"__pycache__", "data", "frontend", "migrations", "node_modules", "static"})
_SETTING = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")


def settings_of_the_instance(environment: Mapping[str, str], names: frozenset[str] = frozenset()) -> dict[str, str]:
    """The part of an environment that belongs to Open WebUI, sorted by name. `names` are those its package reads."""
    known = (names | _KEPT_NAMES) - _OF_THE_MACHINE
    kept = {name for name in environment if name in known or name.startswith(_KEPT_PREFIXES)}
    return {name: environment[name] for name in sorted(kept)}


def names_read_by(package: Path) -> frozenset[str]:
    """The names of all settings that a package's code reads from its environment; empty where there is no code.

    0.12.4 reads 921 of them, and every version adds some.
    """
    found: set[str] = set()
    for folder, below, files in os.walk(package):
        below[:] = [name for name in below if name not in _WITHOUT_CODE]
        for name in files:
            if name.endswith(".py"):
                found.update(_READ.findall(read_small(Path(folder) / name)))
    return frozenset(found)


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
