"""Other programs that keep a part of an instance's state, and settings with paths out of the data directory."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault.components.database.facts import read_facts
from owui_vault.components.external_state import neighbour_sentences, neighbours, paths_elsewhere
from owui_vault.operations.inspect import InspectRequest, inspect_instance
from owui_vault.testing.instances.generate import unpack_instance

ROWS: dict[str, object] = {
    "terminal_server.connections": [
        {"url": "http://user:s3cr3t@term:8000/x?key=s3cr3t", "key": "s3cr3t", "config": {"chat_uploads": "filesystem"}},
        {"url": "https://terminals.example", "server_type": "orchestrator", "policy_id": "p", "key": "s3cr3t"},
        {"url": "http://switched.off", "enabled": False},
        {"no": "address"},
        "nonsense",
    ],
    "openai.api_base_urls": ["https://api.openai.com/v1", "http://pipelines:9099"],
    "code_interpreter.jupyter.url": "http://jupyter:8888?token=s3cr3t",
    "code_execution.jupyter.url": "",
    "external_knowledge.connections": [
        {"name": "wiki", "provider": "generic", "endpoint": "https://u:s3cr3t@wiki.example/x"},
        {"name": "s3cr3t\nname", "provider": "azure", "auth_config": {"api_key": "s3cr3t"}, "config": {}},
    ],
}


def text_of(config: dict[str, object], settings: dict[str, str] | None = None) -> str:
    return "\n".join(neighbour_sentences(neighbours(config, settings or {})))


def test_each_is_named_with_its_address_and_without_a_secret() -> None:
    text = text_of(ROWS)
    for words in (
        "Open Terminal at term:8000",
        "uploads of chats go there",
        "Terminals at terminals.example",
        "Open Terminal at switched.off",
        "Open Terminal at an unknown address",
        "Pipelines at pipelines:9099",
        "Jupyter at jupyter:8888",
        "external knowledge at wiki.example",
        "external knowledge at an unknown address",
    ):
        assert words in text
    assert text.count("NOT covered") == len(text.splitlines())
    assert "s3cr3t" not in text
    assert "api.openai.com" not in text


def test_settings_count_as_the_rows_do_and_each_place_is_told_once() -> None:
    settings = {
        "TERMINAL_SERVER_CONNECTIONS": json.dumps([{"url": "http://term:8000"}]),
        "CODE_EXECUTION_JUPYTER_URL": "http://jupyter:8888",
        "OPENAI_API_BASE_URLS": "https://api.openai.com/v1;http://10.0.0.9:9099",
    }
    assert len(text_of({}, settings).splitlines()) == 3
    both = text_of({"terminal_server.connections": [{"url": "http://term:8000/"}]}, settings)
    assert both.count("term:8000") == 1


@pytest.mark.parametrize(
    "broken", ["{", "[1, null, {}]", "null", '{"url": 1}', '[{"url": 7, "config": []}]', "[" * 9999]
)
def test_whatever_a_setting_holds_nothing_breaks(broken: str) -> None:
    text_of({}, {"TERMINAL_SERVER_CONNECTIONS": broken})
    text_of({"terminal_server.connections": broken, "openai.api_base_urls": 7, "external_knowledge.connections": {}})


def test_the_rows_of_a_real_database_are_read(newest: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(newest / "webui.db")) as connection:
        for key, value in ROWS.items():
            connection.execute("INSERT OR REPLACE INTO config VALUES (?, ?, 1)", (key, json.dumps(value)))
        connection.commit()
    assert len(read_facts(newest).neighbours) == 8
    text = "\n".join(inspect_instance(InspectRequest(path=newest, name="x", work_dir=tmp_path, modes=())).warnings)
    assert "Open Terminal at term:8000" in text
    assert "Jupyter at jupyter:8888" in text
    assert "s3cr3t" not in text


def test_the_one_row_of_older_versions_is_read(tmp_path: Path) -> None:
    left = unpack_instance("0.6.43", tmp_path / "instance")
    with closing(sqlite3.connect(left / "webui.db")) as connection:
        (data,) = connection.execute("SELECT data FROM config").fetchone()
        value = {**json.loads(data), "code_interpreter": {"jupyter": {"url": "http://old:8888"}}}
        connection.execute("UPDATE config SET data = ?", (json.dumps(value),))
        connection.commit()
    assert "Jupyter at old:8888" in "\n".join(neighbour_sentences(read_facts(left).neighbours))


def test_an_untouched_instance_has_none(left: Path) -> None:
    assert read_facts(left).neighbours == ()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"AUDIT_LOGS_FILE_PATH": "/var/log/owui/audit.log"}, "AUDIT_LOGS_FILE_PATH=/var/log/owui/audit.log"),
        ({"LICENSE_BLOB_PATH": "/etc/l.data"}, "LICENSE_BLOB_PATH=/etc/l.data"),
        ({"WHISPER_MODEL_DIR": "/models/whisper"}, "WHISPER_MODEL_DIR"),
        ({"TIKTOKEN_CACHE_DIR": "/models/tiktoken"}, "TIKTOKEN_CACHE_DIR"),
        ({"MILVUS_SERVER_PEM_PATH": "/tls/m.pem", "LDAP_CA_CERT_FILE": "/tls/ca"}, "LDAP_CA_CERT_FILE=/tls/ca"),
        ({"AIOHTTP_CLIENT_SSL_CERT_FILE": "/tls/c"}, "AIOHTTP_CLIENT_SSL_CERT_FILE"),
        ({"AUDIT_LOGS_FILE_PATH": "/app/backend/data/../audit.log"}, "AUDIT_LOGS_FILE_PATH"),
        ({"WHISPER_MODEL_DIR": "/a\x1b[31m\nb"}, r"'/a\x1b[31m\nb'"),
    ],
)
def test_a_path_out_of_the_data_is_told(settings: dict[str, str], words: str) -> None:
    found = list(paths_elsewhere(settings, "/app/backend/data"))
    assert len(found) == len(settings)
    assert all("NOT covered" in each for each in found)
    assert words in "\n".join(found)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"AUDIT_LOGS_FILE_PATH": "/app/backend/data/audit.log", "WHISPER_MODEL_DIR": ""},
        {
            "WHISPER_MODEL_DIR": "/app/backend/data/cache/whisper/models",
            "LICENSE_BLOB_PATH": "/app/backend/data/l.data",
        },
        {"AUDIT_LOGS_FILE_PATH": "/var/log/x", "ENABLE_AUDIT_LOGS_FILE": "False"},
    ],
)
def test_what_lies_inside_or_is_not_written_is_not(settings: dict[str, str]) -> None:
    assert list(paths_elsewhere(settings, "/app/backend/data")) == []
