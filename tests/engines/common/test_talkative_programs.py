"""Engine programs that repeat a secret in whatever they say: nobody hears it from us."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.errors import EngineError, VaultError
from owui_vault.model import Progress, Secret
from owui_vault.ports import Call, Engine
from owui_vault.testing.engines.bench import make_label

SECRET = "hunter2-Tr0ub4dor"
CLOUD = "K00xyzzyPLUGH"
ID = "0" * 64
OPERATIONS: dict[str, Callable[[Engine, Path, Call], object]] = {
    "initialize": lambda engine, _folder, call: engine.initialize(call),
    "inspect": lambda engine, _folder, call: engine.inspect(call),
    "store": lambda engine, folder, call: engine.store(folder / "tree", make_label(), call),
    "snapshots": lambda engine, _folder, call: engine.snapshots(call),
    "contents": lambda engine, _folder, call: list(engine.contents(ID, call)),
    "fetch": lambda engine, folder, call: engine.fetch(ID, folder / "target", call),
    "relabel": lambda engine, _folder, call: engine.relabel(ID, make_label(), call),
    "remove": lambda engine, _folder, call: engine.remove([ID], call),
    "compact": lambda engine, _folder, call: engine.compact(call),
    "verify": lambda engine, _folder, call: engine.verify(call, read_data=0.5),
}
#: What a program says besides nonsense: enough of an answer for the next step.
ANSWERS = {
    "restic": """\
case "$*" in *" version"*) echo "restic 0.18.0 compiled with go1.24 on linux/amd64"; exit;; esac
case "$*" in *snapshots*) [ $STATUS = 0 ] && { echo "[]"; exit; };; esac
""",
    "borg": """\
case "$*" in *--version*) echo "borg 1.4.0"; exit;; esac
case "$*" in "list --log-json "*barchive*)
    echo '{"archives": [{"id": "'$ID'", "barchive": "a", "start": "2026-01-01T00:00:00.000000", "comment": ""}],'
    echo '"encryption": {"mode": "repokey"}, "repository": {"id": "x"}}'
    exit;;
esac
""",
}
SAYS = r"""
echo "{SECRET} of stdout, {CLOUD}"
echo "[0:00] 12% {SECRET}"
echo "Fatal: {SECRET} and {CLOUD}" >&2
echo "Save(<data/x>) returned error, retrying after 1s: {SECRET}" >&2
echo '{"message_type":"error","during":"archival","item":"/x","error":{"message":"{SECRET}"}}' >&2
echo '{"type":"log_message","levelname":"WARNING","name":"borg.x","message":"x: {SECRET} {CLOUD}"}' >&2
echo '{"type":"log_message","levelname":"ERROR","name":"borg.x","message":"Local Exception {SECRET}"}' >&2
echo '{"type":"progress_percent","message":"{SECRET}","current":1,"total":2,"msgid":"check"}' >&2
echo '{"type":"file_status","status":"E","path":"x"}' >&2
exit $STATUS
"""


def talkative(folder: Path, name: str, status: int) -> Engine:
    script = folder / "program"
    says = SAYS.replace("{SECRET}", SECRET).replace("{CLOUD}", CLOUD)
    script.write_text(f"#!/bin/sh\nSTATUS={status} ID={ID}\n{ANSWERS[name]}{says}")
    script.chmod(0o755)
    location, environment = str(folder / "repository"), {"SOME_KEY": Secret(CLOUD)}
    if name == "borg":
        return BorgEngine(location, Secret(SECRET), program=str(script), environment=environment)
    options = ("local.connections=2",)
    return ResticEngine(location, Secret(SECRET), program=str(script), environment=environment, options=options)


def everything_about(error: VaultError) -> str:
    more = f"{error.argv} {error.stderr_tail}" if isinstance(error, EngineError) else ""
    return f"{''.join(traceback.format_exception(error))} {error!r} {error.hint} {more}"


#: How each ends well, with a part, and not at all.
ENDS = [("restic", 0), ("restic", 1), ("restic", 3), ("borg", 0), ("borg", 1), ("borg", 2)]


@pytest.mark.parametrize(("name", "status"), ENDS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_secret_that_a_program_repeats_is_repeated_by_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, operation: str, status: int
) -> None:
    for folder in ("tree", "target", "state", "repository"):
        (tmp_path / folder).mkdir()
    (tmp_path / "tree" / "x").write_text("x")
    events: list[Progress] = []
    call = Call(folder=tmp_path / "state", timeout_seconds=20, idle_seconds=20, progress=events.append)
    with caplog.at_level(logging.DEBUG):
        try:
            said = repr(OPERATIONS[operation](talkative(tmp_path, name, status), tmp_path, call))
        except VaultError as error:
            said = everything_about(error)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    for secret in (SECRET, CLOUD):
        assert secret not in said
        assert secret not in caplog.text
        assert secret not in repr(events)
        assert secret.encode() not in kept
