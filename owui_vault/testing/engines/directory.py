"""An engine in plain Python: a directory of files named by their content. For tests, never for backups.

It keeps every promise of `ports.Engine` but one (it does not encrypt), which the conformance suite shows; so what is
tested on it is tested on something that behaves like the real ones, only faster.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from errno import EACCES, EIO, ENOENT, ENOSPC, EPERM, ESRCH
from hashlib import sha256
from pathlib import Path

from owui_vault.engines.common.labels import label_from_json, label_to_json, later_from_json
from owui_vault.engines.common.unreadable import require_content
from owui_vault.errors import (
    CancelledError,
    DeadlineExceededError,
    RepositoryDamagedError,
    RepositoryExistsError,
    RepositoryFullError,
    RepositoryMissingError,
    SnapshotMissingError,
    WrongPassphraseError,
)
from owui_vault.model import Entry, Label, Outcome, Progress, RepositoryInfo, SkippedFile, Snapshot, Step, StoreReceipt
from owui_vault.ports import Call, Engine, SecretSource
from owui_vault.testing.engines.directory_tree import Node, node_of, walk, write_nodes

_PIECE = 1 << 20
_OF_THE_SOURCE = frozenset(
    {ENOENT, EACCES, EPERM, EIO, ESRCH}
)  # a file that cannot be read, not a repository that is full


class DirectoryEngine(Engine):
    """A repository that is a directory: `config`, `objects/`, `snapshots/`."""

    name = "directory"

    def __init__(self, location: Path, passphrase: SecretSource) -> None:
        self._folder = location.absolute()
        self._passphrase = passphrase

    @property
    def location(self) -> str:
        """Where the repository is."""
        return str(self._folder)

    def initialize(self, call: Call) -> RepositoryInfo:
        """Create the repository."""
        _stop_if(call)
        if (self._folder / "config").exists():
            raise RepositoryExistsError(f"a repository already exists at {self.location}", engine=self.name)
        for name in ("objects", "snapshots"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        config = {"id": os.urandom(16).hex(), "lock": self._lock(call)}
        _write(self._folder / "config", json.dumps(config).encode())
        return self.inspect(call)

    def inspect(self, call: Call) -> RepositoryInfo:
        """Prove that it is there and ours."""
        _stop_if(call)
        try:
            config = json.loads((self._folder / "config").read_bytes())
        except FileNotFoundError:
            raise RepositoryMissingError(f"no repository at {self.location}", engine=self.name) from None
        if config["lock"] != self._lock(call):
            raise WrongPassphraseError(f"the passphrase does not open {self.location}", engine=self.name)
        return RepositoryInfo(id=config["id"], location=self.location, engine=self.name, engine_version="1")

    def store(self, tree: Path, label: Label, call: Call) -> StoreReceipt:
        """Copy what is new, then write down what there is: last, and at once."""
        self.inspect(call)
        require_content(tree, self.name)
        try:
            return self._store(tree, label, call)
        except OSError as error:
            if error.errno != ENOSPC:
                raise
            raise RepositoryFullError(f"no space left at {self.location}", engine=self.name) from error

    def _store(self, tree: Path, label: Label, call: Call) -> StoreReceipt:
        known = {} if call.reread else self._known()
        nodes, skipped, read, added = [], [], 0, 0
        started = time.monotonic()
        for node in walk(tree):
            _stop_if(call)
            if call.store_seconds is not None and time.monotonic() - started > call.store_seconds:
                raise DeadlineExceededError(f"did not store within {call.store_seconds:g} s")
            try:
                stored, grown = self._keep(tree, node, known)
            except OSError as error:
                if error.errno not in _OF_THE_SOURCE:
                    raise
                skipped.append(SkippedFile(path=node.path, reason=error.strerror or type(error).__name__))
                continue
            read, added = read + stored.size, added + grown
            call.progress(Progress(step=Step.STORE, done_bytes=read))
            nodes.append(stored)
        kept = replace(label, engine=self.name, engine_version="1")
        if skipped:
            kept = replace(kept, outcome=Outcome.INCOMPLETE)
        snapshot = self._write_snapshot(nodes, kept)
        return StoreReceipt(
            snapshot=snapshot, files=len(nodes), read_bytes=read, added_bytes=added, skipped=tuple(skipped)
        )

    def snapshots(self, call: Call) -> tuple[Snapshot, ...]:
        """Everything in it, oldest first."""
        self.inspect(call)
        found = [self._snapshot(path) for path in (self._folder / "snapshots").iterdir() if path.suffix == ".json"]
        return tuple(sorted(found, key=lambda each: (each.time, each.engine_id)))

    def contents(self, engine_id: str, call: Call) -> Iterator[Entry]:
        """All paths of one snapshot."""
        nodes = self._nodes(engine_id, call)
        return (Entry(path=node.path, kind=node.kind, size_bytes=node.size) for node in nodes)

    def fetch(self, engine_id: str, target: Path, call: Call, *, paths: Sequence[str] = ()) -> None:
        """Write the snapshot, or only these paths of it, into `target`."""
        nodes = self._nodes(engine_id, call)
        done = 0
        for node in write_nodes(nodes, target, self._object, paths=paths):
            _stop_if(call)
            done += node.size
            call.progress(Progress(step=Step.FETCH, done_bytes=done))

    def relabel(self, engine_id: str, label: Label, call: Call) -> Snapshot:
        """Write the same nodes under another label, then drop the old one."""
        nodes = self._nodes(engine_id, call)
        old = self._snapshot(self._snapshot_path(engine_id)).label
        version = old.engine_version if old else "1"
        snapshot = self._write_snapshot(nodes, replace(label, engine=self.name, engine_version=version))
        if snapshot.engine_id != engine_id:
            self._snapshot_path(engine_id).unlink()
        return snapshot

    def remove(self, engine_ids: Sequence[str], call: Call) -> None:
        """Drop exactly these."""
        self.inspect(call)
        paths = [self._snapshot_path(engine_id) for engine_id in engine_ids]
        for path in paths:
            path.unlink(missing_ok=True)

    def compact(self, call: Call) -> int | None:
        """Drop the objects that no snapshot names, and what killed runs left."""
        used = {node.object for each in self.snapshots(call) for node in self._nodes(each.engine_id, call)}
        unused = [path for path in (self._folder / "objects").iterdir() if path.name not in used]
        freed = sum(path.stat().st_size for path in unused)
        for path in unused:
            path.unlink()
        return freed

    def verify(self, call: Call, *, read_data: float = 0.0) -> tuple[str, ...]:
        """Look for every object; hash this share of them."""
        problems = []
        for snapshot in self.snapshots(call):
            for node in self._nodes(snapshot.engine_id, call):
                if not node.object:
                    continue
                path = self._folder / "objects" / node.object
                if not path.exists():
                    problems.append(f"{snapshot.name}: data of {node.path} are missing")
                elif random.random() < read_data and _hash(path) != node.object:
                    problems.append(f"{snapshot.name}: data of {node.path} are damaged")
        return tuple(problems)

    def _lock(self, call: Call) -> str:
        return sha256(call.secrets.of(self._passphrase).encode()).hexdigest()

    def _known(self) -> dict[str, Node]:
        """The files of the newest snapshot: same size and mtime means same content, as with the real engines."""
        paths = sorted((self._folder / "snapshots").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return {node.path: node for node in _read_nodes(paths[-1])} if paths else {}

    def _keep(self, tree: Path, node: Node, known: dict[str, Node]) -> tuple[Node, int]:
        if node.kind == "dir":
            os.scandir(tree / node.path).close()  # `walk` passes over what it may not read
        if node.kind != "file" or node.link:
            return node, 0
        with (tree / node.path).open("rb") as file:
            before = known.get(node.path)
            if before and (before.size, before.mtime_ns) == (node.size, node.mtime_ns):
                return replace(node, object=before.object), 0
            descriptor, name = tempfile.mkstemp(dir=self._folder / "objects", prefix="tmp-")
            digest, size = sha256(), 0
            with os.fdopen(descriptor, "wb") as copy:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    size += copy.write(piece)
        target = self._folder / "objects" / digest.hexdigest()
        grown = 0 if target.exists() else size
        Path(name).rename(target)
        return replace(node, object=digest.hexdigest(), size=size), grown

    def _write_snapshot(self, nodes: Sequence[Node], label: Label) -> Snapshot:
        # As with real engines, whose ids depend on the repository's key, no two repositories give out the same id.
        of = json.loads((self._folder / "config").read_bytes())["id"]
        document = {"of": of, "label": label_to_json(label), "nodes": [node.to_json() for node in nodes]}
        text = json.dumps(document)
        path = self._folder / "snapshots" / f"{sha256(text.encode()).hexdigest()}.json"
        _write(path, text.encode())
        return self._snapshot(path)

    def _snapshot_path(self, engine_id: str) -> Path:
        path = self._folder / "snapshots" / f"{engine_id}.json"
        if not path.is_file():
            raise SnapshotMissingError(f"no snapshot {engine_id} in {self.location}", engine=self.name)
        return path

    def _snapshot(self, path: Path) -> Snapshot:
        text = _read(path)["label"]
        label = label_from_json(text)
        time = label.instant if label else datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return Snapshot(engine_id=path.stem, name=path.stem[:8], time=time, label=label, later=later_from_json(text))

    def _nodes(self, engine_id: str, call: Call) -> list[Node]:
        self.inspect(call)
        return _read_nodes(self._snapshot_path(engine_id))

    def _object(self, node: Node) -> Path:
        path = self._folder / "objects" / node.object
        if not path.exists() or path.stat().st_size != node.size:
            raise self._damaged(node, "missing")
        if _hash(path) != node.object:
            raise self._damaged(node, "damaged")
        return path

    def _damaged(self, node: Node, how: str) -> RepositoryDamagedError:
        error = RepositoryDamagedError(f"data of {node.path} are {how}", engine=self.name)
        error.paths = (node.path,)
        return error


def _read(path: Path) -> dict[str, str]:
    try:
        document: dict[str, str] = json.loads(path.read_bytes())
    except ValueError as error:
        raise RepositoryDamagedError(f"snapshot {path.stem} is damaged", engine="directory") from error
    return document


def _read_nodes(path: Path) -> list[Node]:
    return [node_of(each) for each in _read(path)["nodes"]]


def _write(path: Path, data: bytes) -> None:
    """All of it or nothing, whenever we die."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix="tmp-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    Path(name).rename(path)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        digest = sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _stop_if(call: Call) -> None:
    if call.cancel.is_set():
        raise CancelledError("the directory engine was asked to stop")
