"""A forger of restic repositories: snapshots that restic would never write, but somebody with the passphrase may."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.model import Secret
from owui_vault.testing.engines.bench import PASSPHRASE, Bench
from tests.restic_keys import master_key
from tests.restic_templates import PlaceRestic

Node = Mapping[str, Any]


class Forge:
    """Writes blobs, trees and snapshots into a local repository, whatever they say."""

    def __init__(self, repository: Path, passphrase: str) -> None:
        self.repository = repository
        self._sealed = master_key(repository, passphrase)

    def _write(self, folder: str, data: bytes) -> str:
        name = sha256(data).hexdigest()
        path = self.repository / folder / (name[:2] if folder == "data" else "") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return name

    def _blob(self, kind: str, data: bytes) -> str:
        name, sealed = sha256(data).hexdigest(), self._sealed.seal(data)
        head = struct.pack("<BI", ("data", "tree").index(kind), len(sealed)) + bytes.fromhex(name)
        header = self._sealed.seal(head)
        pack = self._write("data", sealed + header + struct.pack("<I", len(header)))
        blob = {"id": name, "type": kind, "offset": 0, "length": len(sealed)}
        self._write("index", self._sealed.seal(json.dumps({"packs": [{"id": pack, "blobs": [blob]}]}).encode()))
        return name

    def file(self, name: str, data: bytes, **more: object) -> Node:
        return self._node(name, "file", content=[self._blob("data", data)], size=len(data), **more)

    def link(self, name: str, points_to: object) -> Node:
        return self._node(name, "symlink", linktarget=str(points_to), mode=0o777 | 1 << 27)

    def device(self, name: str, number: int) -> Node:
        return self._node(name, "dev", mode=0o666 | 1 << 26, device=number)

    def folder(self, name: str, *nodes: Node) -> Node:
        return self._node(name, "dir", subtree=self.tree(*nodes), mode=0o700 | 1 << 31)

    @staticmethod
    def _node(name: str, kind: str, **more: object) -> Node:
        moment = "2001-02-03T04:05:06Z"
        times = {"mtime": moment, "atime": moment, "ctime": moment}
        return {"name": name, "type": kind, "mode": 0o640, "uid": 0, "gid": 0, "inode": 7, "links": 1} | times | more

    def tree(self, *nodes: Node) -> str:
        return self._blob("tree", json.dumps({"nodes": list(nodes)}).encode() + b"\n")

    def snapshot(self, *nodes: Node, **more: object) -> str:
        document = {"time": "2026-01-01T00:00:00Z", "tree": self.tree(*nodes), "paths": ["/x"], "hostname": "forger"}
        return self._write("snapshots", self._sealed.seal(json.dumps(document | more).encode()))


@pytest.fixture
def forge() -> Callable[[Path, str], Forge]:
    """`forge(repository, passphrase)`."""
    return Forge


@pytest.fixture
def somebody_else() -> Callable[[Bench, Path], AbstractContextManager[subprocess.Popen[bytes]]]:
    """`with somebody_else(bench, program)`: another tool's restic is in the midst of a backup, and holds a lock."""
    return _storing_elsewhere


@contextmanager
def _storing_elsewhere(bench: Bench, program: Path) -> Iterator[subprocess.Popen[bytes]]:
    locks = bench.repository / "locks"
    tree = bench.folder / "elsewhere"
    tree.mkdir()
    (tree / "big").write_bytes(os.urandom(60_000_000))
    argv = [str(program), "-r", str(bench.repository), "backup", "--limit-upload", "300", "."]
    environment = {"RESTIC_PASSWORD": PASSPHRASE, "PATH": os.environ["PATH"], "HOME": str(bench.folder)}
    before = len(_whole(locks))
    child = subprocess.Popen(argv, cwd=tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(_whole(locks)) <= before:
        assert time.monotonic() < until
        time.sleep(0.05)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _whole(locks: Path) -> list[Path]:
    """Those that are written to their end, and have their name."""
    return [path for path in locks.iterdir() if "-tmp-" not in path.name]


def engine_at(folder: Path, program: Path) -> ResticEngine:
    """The engine of a bench in `folder`, with this program."""
    return ResticEngine(str(folder / "repository"), Secret(PASSPHRASE), program=str(program))


@pytest.fixture
def bench(tmp_path: Path, restic_program: Path, place_restic: PlaceRestic) -> Bench:
    """An engine on an empty repository of its own."""
    place_restic(tmp_path / "repository", restic_program, PASSPHRASE)
    return Bench(engine=engine_at(tmp_path, restic_program), folder=tmp_path)
