"""Reports to show, and a real instance with a real repository to run the program on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest
from owui_vault.model import (
    ApplicationRecord,
    CollectionRecord,
    Component,
    ComponentKind,
    ComponentRecord,
    DatabaseRecord,
    Label,
    LedgerEntry,
    LeftOut,
    Manifest,
    Outcome,
    Proof,
    ProofRecord,
    RepositoryResult,
    SecretKeyRecord,
    Snapshot,
    SnapshotReport,
)
from tests.cli.warm import WarmProgram
from tests.conftest import MEASURED_PYTHON
from tests.restic_templates import PlaceRestic

INSTANT = datetime(2026, 11, 20, 3, 0, 0, 250_000, tzinfo=UTC)
PASSPHRASE = "correct horse battery staple"
_LONGEST = 1 << 24


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        id="4e1c0a9f",
        instance="open-webui",
        fingerprint="813212dd48070fcb",
        instant=INSTANT,
        sequence=7,
        outcome=Outcome.COMPLETE,
        problems=(),
        warnings=("the secret key was not found",),
        tags=("release",),
        proof=ProofRecord(mode=Proof.PAUSE, attempts=2, freeze_seconds=0.052),
        application=ApplicationRecord(version="0.12.4", alembic_head="0bd252b206fb", data_dir="/app/backend/data"),
        databases=(
            DatabaseRecord(
                path="webui.db", journal_mode="wal", size_bytes=5_500_000, sha256="0" * 64, tables={"user": 2}
            ),
        ),
        components=(
            ComponentRecord(
                name=Component.UPLOADS, kind=ComponentKind.FILES, files=8, size_bytes=424_000, digest="0" * 64
            ),
        ),
        vector_files=(),
        collections=(CollectionRecord(id="c", name="file-x", vectors=65, lost=1),),
        left_out=(LeftOut(path="cache", reason="can be made again", files=2, size_bytes=1100),),
        secret_key=SecretKeyRecord(found=False, needed_because=("MFA",)),
        ledger=(LedgerEntry(snapshot="0badcafe", repository="nas", kind="verify", at=INSTANT, ok=True),),
        created_by="owui_vault 0.1.0",
        plan="nightly",
        users=2,
        chats=31,
        uploads=8,
        sqlite="3.46.1",
    )


@pytest.fixture
def label() -> Label:
    return Label(
        id="4e1c0a9f",
        instance="open-webui",
        fingerprint="813212dd48070fcb",
        instant=INSTANT,
        sequence=7,
        outcome=Outcome.COMPLETE,
        mode=Proof.PAUSE,
        tags=("release",),
    )


@pytest.fixture
def stored(label: Label) -> Snapshot:
    return Snapshot(
        engine_id="ab" * 32, name="open-webui-…", time=INSTANT, label=label, size_bytes=9_000_000, repository="nas"
    )


@pytest.fixture
def snapshot_report(manifest: Manifest, stored: Snapshot) -> SnapshotReport:
    return SnapshotReport(
        id=manifest.id,
        instance=manifest.instance,
        instant=manifest.instant,
        outcome=manifest.outcome,
        proof=manifest.proof,
        problems=(),
        warnings=manifest.warnings,
        repositories=(
            RepositoryResult(repository="nas", snapshot=stored, added_bytes=31_000_000, read_bytes=5_100_000),
        ),
        manifest=manifest,
        took=timedelta(seconds=3.9),
    )


def _hear_interrupts() -> None:
    """Tests that run in the background, or under nohup, ignore these from birth, and the program leaves it so."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass(frozen=True)
class Program:
    """The installed program, run in a folder of its own: `warm` where nothing but arguments is given to it."""

    folder: Path
    warm: WarmProgram | None = None

    def run(
        self, *words: str, stdin: str | None = None, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end. No output may ever hold the passphrase."""
        if self.warm is not None and stdin is None and environ is None:
            done = self._run_warm(self.warm, words)
        else:
            done = subprocess.run(
                [sys.executable, "-m", "owui_vault", *words],
                cwd=self.folder,
                env=self.environ(environ),
                input=stdin,
                stdin=None if stdin is not None else subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                timeout=120,
                check=False,
            )
        assert PASSPHRASE not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def _run_warm(self, warm: WarmProgram, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        with open(os.devnull) as nothing, TemporaryFile() as out, TemporaryFile() as err:
            streams = [each.fileno() for each in (nothing, out, err)]
            status = warm.run(words, self.folder, self.environ(None), streams)
            texts = [os.pread(each.fileno(), _LONGEST, 0).decode(errors="surrogateescape") for each in (out, err)]
        return subprocess.CompletedProcess(words, status, *texts)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            [sys.executable, "-m", "owui_vault", *words],
            cwd=self.folder,
            env=self.environ(None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_interrupts,  # noqa: PLW1509  no test starts it beside threads
        )

    def json(self, *words: str, code: int = 0) -> Any:
        """The one object a `--json` run prints."""
        done = self.run("--json", *words)
        assert done.returncode == code, done.stdout + done.stderr
        answer = json.loads(done.stdout)
        assert answer["format"] == 1
        return answer

    def configure(self, text: str) -> None:
        """Write vault.yaml."""
        file = self.folder / "vault.yaml"
        file.write_text(text)
        file.chmod(0o600)

    def environ(self, more: Mapping[str, str] | None) -> dict[str, str]:
        """Next to nothing, so that nothing of the machine has a say."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), **(more or {})}


CONFIGURATION = """\
instance: {data_dir: data}
repositories:
  nas: {engine: restic, location: nas, program: RESTIC, passphrase: {file: pass}, keep: {last: 2}}
limits: {lock_wait: 0s}
state_dir: state
"""


@pytest.fixture(scope="session")
def prepared(
    tmp_path_factory: pytest.TempPathFactory,
    small_instance: Callable[[Path], Path],
    own_restic: Path,
    place_restic: PlaceRestic,
) -> Path:
    """A folder with a stopped instance, a configuration, a repository and one snapshot; to be copied, not used."""
    folder = tmp_path_factory.mktemp("cli") / "prepared"
    small_instance(folder)
    (folder / "home").mkdir()
    (folder / "pass").write_text(f"{PASSPHRASE}\n")
    (folder / "pass").chmod(0o600)
    place_restic(folder / "nas", own_restic, PASSPHRASE)
    program = Program(folder)
    program.configure(CONFIGURATION.replace("RESTIC", str(own_restic)))
    for words in (["init"], ["snapshot"]):
        done = program.run(*words)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmProgram | None]:
    """A process that has imported the program, and forks for each run; none where runs are measured."""
    if MEASURED_PYTHON.exists():
        yield None
        return
    program = WarmProgram(tmp_path_factory.mktemp("warm"))
    yield program
    program.end()


@pytest.fixture
def vault(prepared: Path, tmp_path: Path, warm: WarmProgram | None) -> Program:
    """A copy of `prepared`."""
    folder = tmp_path / "vault"
    shutil.copytree(prepared, folder, symlinks=True)
    return Program(folder, warm)


@pytest.fixture
def new_program(warm: WarmProgram | None) -> Callable[[Path], Program]:
    """`new_program(folder)`: the program in a folder that a test prepares itself."""
    return lambda folder: Program(folder, warm)
