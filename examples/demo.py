"""The main job on a small real instance, with restic and with borg, told step by step. Run it with `make demo`.

Everything happens below one temporary directory: the instance, the repositories, the restored copies. Every command is
shown as it was run, in that directory; each claim with a tick before it was checked; the first one that does not hold
ends the demo with status 1. The second engine does the same, and only what differs is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INSTANCE = Path(__file__).parent / "data" / "instance-small.tar.gz"
REPORT = Path(__file__).parent.parent / ".cache" / "demo-report.html"
CHAT = "A chat written between two snapshots"
CONFIGURATION = """\
instance:
  data_dir: {data_dir}

repositories:
  {engine}:
    engine: {engine}
    location: {folder}/repository
    passphrase: {{file: {folder}/passphrase}}
    keep: {{last: 1}}

plans:
  nightly: {{schedule: "0 3 * * *", verify: 100%}}

state_dir: {folder}/state
"""
_LIVE = "open-webui/data"


class DemoError(Exception):
    """A step failed, or something that was promised does not hold."""


def tell(text: str) -> None:
    """A heading, as a comment among the commands."""
    print(f"\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"# {text}", flush=True)


def check(claim: str, holds: bool) -> None:
    if not holds:
        raise DemoError(f"this does not hold: {claim}")
    print(f"  ✓ {claim}", flush=True)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where one round of the demo takes place."""

    engine: str
    folder: Path
    quiet: bool = False

    @property
    def data_dir(self) -> Path:
        return self.folder / "open-webui" / "data"

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    def tell(self, text: str) -> None:
        """A heading; the second round needs none."""
        if not self.quiet:
            tell(f"{self.engine}: {text}")

    def vault(self, *arguments: str) -> None:
        """Run owui_vault as a person would, its output on the screen, unless it was seen before."""
        print(f"$ owui-vault {' '.join(arguments)}", flush=True)
        argv = [sys.executable, "-m", "owui_vault", *arguments]
        done = subprocess.run(
            argv,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if self.quiet else None,
            stderr=None if sys.stderr.isatty() and not self.quiet else subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(f"`{' '.join(arguments)}` ended with status {done.returncode}\n{done.stderr or ''}")

    def ask(self, *arguments: str) -> Any:
        """The same as a program would, for the answer."""
        print(f"$ owui-vault --json {' '.join(arguments)}    # read by this program", flush=True)
        argv = [sys.executable, "-m", "owui_vault", "--json", *arguments]
        done = subprocess.run(argv, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise DemoError(f"`{arguments[0]}` ended with status {done.returncode}")
        return json.loads(done.stdout)


def set_the_stage(stage: Stage) -> None:
    (stage.folder / "open-webui").mkdir()
    print(f"$ cd {stage.folder}; tar -xzf {INSTANCE.name} -C open-webui; $EDITOR vault.yaml", flush=True)
    subprocess.run(["tar", "-xzf", INSTANCE, "--no-same-owner", "-C", stage.folder / "open-webui"], check=True)
    passphrase = stage.folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("correct horse battery staple\n")
    (stage.folder / "vault.yaml").write_text(CONFIGURATION.format(**vars(stage), data_dir=stage.data_dir))


def contents(data_dir: Path) -> dict[str, str]:
    """Every upload by its name, with what is in it, and every chat by its id, with its title."""
    uploads = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (data_dir / "uploads").iterdir()}
    with closing(sqlite3.connect(f"file:{data_dir / 'webui.db'}?mode=ro", uri=True)) as database:
        chats = dict(database.execute("SELECT id, title FROM chat"))
    return uploads | chats


def use_the_instance(stage: Stage) -> None:
    """What a user does: upload a file, write a chat."""
    print(
        f"$ cp holiday.jpg {_LIVE}/uploads/; sqlite3 {_LIVE}/webui.db 'INSERT INTO file …; INSERT INTO chat …'",
        flush=True,
    )
    body, identity, now = os.urandom(50_000), str(uuid.uuid4()), int(time.time())
    (stage.data_dir / "uploads" / f"{identity}_holiday.jpg").write_bytes(body)
    meta = {"name": "holiday.jpg", "size": len(body), "file_hash": hashlib.sha256(body).hexdigest()}
    with closing(sqlite3.connect(stage.data_dir / "webui.db")) as database, database:
        (user,) = database.execute("SELECT id FROM user LIMIT 1").fetchone()
        database.execute(
            "INSERT INTO file (id, user_id, filename, meta, created_at, updated_at, path) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                identity,
                user,
                "holiday.jpg",
                json.dumps(meta),
                now,
                now,
                f"/app/backend/data/uploads/{identity}_holiday.jpg",
            ),
        )
        database.execute(
            "INSERT INTO chat (id, user_id, title, created_at, updated_at, archived, chat, meta)"
            " VALUES (?, ?, ?, ?, ?, 0, ?, '{}')",
            (str(uuid.uuid4()), user, CHAT, now, now, json.dumps({"title": CHAT, "history": {"messages": {}}})),
        )


def without_us(stage: Stage, target: Path) -> Sequence[str]:
    """How to get everything back with the engine alone."""
    target.mkdir()
    if stage.engine == "restic":
        return [
            "restic",
            "--quiet",
            "--no-cache",
            "--repo",
            str(stage.repository),
            "restore",
            "latest",
            "--target",
            str(target),
        ]
    name = subprocess.check_output(
        ["borg", "list", "--short", "--last", "1", str(stage.repository)], env=engine_environment(stage), text=True
    )
    return ["borg", "extract", f"{stage.repository}::{name.strip()}"]


def engine_environment(stage: Stage) -> dict[str, str]:
    secret = (stage.folder / "passphrase").read_text().strip()
    borg = {
        "BORG_PASSPHRASE": secret,
        "BORG_BASE_DIR": str(stage.folder / "borg"),
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }
    return {"PATH": os.environ["PATH"], "RESTIC_PASSWORD": secret} | borg


def round_with(stage: Stage) -> None:
    stage.tell("what does the instance hold?")
    set_the_stage(stage)
    if not stage.quiet:
        stage.vault("inspect")
    stage.tell("create the repository, take the first snapshot")
    stage.vault("init")
    before = contents(stage.data_dir)
    stage.vault("snapshot")
    stage.tell("somebody uses the instance; take the second snapshot")
    use_the_instance(stage)
    after = contents(stage.data_dir)
    stage.vault("--quiet", "snapshot", "--tag", "demo")
    if not stage.quiet:
        stage.vault("snapshots")
    newest, oldest = [snapshot["id"] for snapshot in stage.ask("snapshots")["snapshots"]]
    check("two snapshots are stored, each with an id of its own", newest != oldest)
    restore_both(stage, oldest, before, after)
    stage.tell("does the repository still give back what was stored?")
    stage.vault("verify", "--read-data")
    stage.tell("keep only the newest one")
    stage.vault("prune")
    left = [snapshot["id"] for snapshot in stage.ask("snapshots")["snapshots"]]
    check("the newest snapshot is the one that was kept", left == [newest])
    stage.tell("get everything back without owui_vault")
    bare_restore(stage, after)


def restore_both(stage: Stage, oldest: str, before: dict[str, str], after: dict[str, str]) -> None:
    stage.tell("restore both snapshots, each into a new directory")
    stage.vault("restore", "latest", "--target", "newest")
    check(
        "every chat and every upload of the newest snapshot came back",
        contents(stage.folder / "newest" / "data") == after,
    )
    stage.vault("--quiet", "restore", oldest, "--target", "oldest")
    came_back = contents(stage.folder / "oldest" / "data")
    check(
        "the older snapshot holds what was there then, and nothing newer",
        came_back == before and CHAT not in came_back.values(),
    )
    check("the live instance was not changed by any of it", contents(stage.data_dir) == after)


def bare_restore(stage: Stage, after: dict[str, str]) -> None:
    target = stage.folder / "bare"
    argv = without_us(stage, target)
    print(f"$ {' '.join(argv).replace(f'{stage.folder}/', '')}", flush=True)
    subprocess.run(argv, cwd=target, env=engine_environment(stage), stdin=subprocess.DEVNULL, check=True)
    check(f"{stage.engine} alone gives back the same data directory", contents(target / "data") == after)


def unattended(stage: Stage) -> None:
    tell(f"{stage.engine}: do all of it as a plan says, and write a page to look at")
    stage.vault("run", "nightly")
    REPORT.parent.mkdir(exist_ok=True)
    stage.vault("report", str(REPORT))
    newest = stage.ask("snapshots")["snapshots"][0]["id"]
    check("the page shows the newest restore point", newest in REPORT.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["restic", "borg"], action="append", help="only this one (default: both)")
    arguments = parser.parse_args()
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="demo-"))
    try:
        for number, engine in enumerate(arguments.engine or ["restic", "borg"]):
            stage = Stage(engine=engine, folder=folder / engine, quiet=number > 0)
            stage.folder.mkdir()
            round_with(stage)
        unattended(stage)
    except (DemoError, subprocess.CalledProcessError) as error:
        print(f"\ndemo failed: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder)
    tell(f"Done in {time.monotonic() - begun:.0f} seconds; all that is left of it is a page to look at:")
    print(f"  {REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
