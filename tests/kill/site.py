"""One instance, one repository and the program, for as many kills as wanted."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
INSTANCE = ROOT / "examples" / "data" / "instance-small.tar.gz"
PASSPHRASE = "correct horse battery staple"
WRITER = Path(__file__).with_name("writer.py")
CONFIGURATION = """\
instance:
  data_dir: {folder}/open-webui/data
  pid_file: {folder}/pid
repositories:
  soak:
    engine: {engine}
    program: {program}
    location: {folder}/repository
    passphrase: {{file: {folder}/passphrase}}
    keep: {{last: 5}}
state_dir: {folder}/state
"""

Stamp = tuple[int, int, int, int, str]


class Site:
    """The instance runs from `start` to `stop`; the repository grows with every round."""

    def __init__(self, folder: Path, engine: str, program: Path) -> None:
        self.folder, self.engine = folder, engine
        self.data_dir = folder / "open-webui" / "data"
        self.repository = folder / "repository"
        (folder / "open-webui").mkdir()
        subprocess.run(["tar", "-xzf", INSTANCE, "--no-same-owner", "-C", folder / "open-webui"], check=True)
        (folder / "passphrase").touch(mode=0o600)
        (folder / "passphrase").write_text(PASSPHRASE)
        (folder / "vault.yaml").write_text(CONFIGURATION.format(folder=folder, engine=engine, program=program))
        self.writer: subprocess.Popen[str] | None = None

    def start(self, seconds_between: float) -> None:
        """Start the instance, busy or (0) idle."""
        argv = [sys.executable, "-S", str(WRITER), str(self.data_dir), str(seconds_between)]
        self.writer = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.writer.stdout is not None
        assert self.writer.stdout.readline() == "ready\n"
        (self.folder / "pid").write_text(f"{self.writer.pid}\n")

    def stop(self) -> None:
        """End the instance, also a frozen one."""
        if self.writer:
            self.writer.kill()
            self.writer.communicate()

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "owui_vault", "--config", str(self.folder / "vault.yaml"), *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Our program, to its end."""
        return subprocess.run(
            self.argv(*arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False
        )

    def succeed(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def ask(self, *arguments: str) -> Any:
        return json.loads(self.succeed("--json", *arguments).stdout)

    def thread_states(self) -> set[str]:
        """The states of all threads of the instance: `T` is frozen."""
        assert self.writer is not None
        stats = [path.read_text() for path in Path(f"/proc/{self.writer.pid}/task").glob("*/stat")]
        return {text.rpartition(")")[2].split()[0] for text in stats}

    def is_running(self) -> bool:
        assert self.writer is not None
        return self.writer.poll() is None and not self.thread_states() & {"T", "t", "Z", "X"}

    def comes_back_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not self.is_running():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def progress(self) -> int:
        """How far the instance has come, as its own database says."""
        return counts(self.data_dir)[2]

    def stamps(self, *, busy: bool) -> dict[str, Stamp]:
        """Bytes, mode, owner and mtime of everything that only somebody else could have changed."""
        found = {}
        for path in sorted(self.data_dir.rglob("*")):
            relative = str(path.relative_to(self.data_dir))
            written = "soak-" in relative or relative.startswith(("webui.db", "vector_db/chroma.sqlite3"))
            written = written or relative in {"uploads", "vector_db"}
            if relative.endswith("-shm") or (busy and written):
                continue
            found[relative] = stamp(path)
        return found

    def strays(self) -> list[str]:
        """What a run must not leave behind: a stage, wherever it lies."""
        copies = [path for path in (self.folder / "state").rglob("*") if path.name in {"webui.db", "chroma.sqlite3"}]
        return [str(path) for path in [*copies, *self.data_dir.glob(".owui-vault*")]]


def stamp(path: Path) -> Stamp:
    found = path.lstat()
    body = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(found.st_mode) else ""
    return found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, body


def counts(data_dir: Path) -> tuple[int, int, int]:
    """Steps in the uploads, in Chroma, in webui.db."""
    uploads = sum(name.startswith("soak-") for name in os.listdir(data_dir / "uploads"))
    vectors = rows(data_dir / "vector_db/chroma.sqlite3", "SELECT count(*) FROM soak")
    return uploads, vectors, rows(data_dir / "webui.db", "SELECT count(*) FROM file WHERE id LIKE 'soak-%'")


def rows(database: Path, query: str) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        ((count,),) = connection.execute(query).fetchall()
        return int(count)
