"""Other programs that keep part of an instance's state, and settings that point outside its data directory.

A snapshot holds their addresses, like everything in the database, but not their content. Only host and port of an
address are repeated: user, password, path and query may be secrets.
"""

from __future__ import annotations

import json
import posixpath
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from owui_vault.components.providers import host_of
from owui_vault.components.sqlite_files import column_names

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
