"""Finding a snapshot and reading its manifest: what restore, verify and show begin with."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from owui_vault.errors import ContentMismatchError, SnapshotMissingError, VaultError
from owui_vault.model import Manifest, Secret, Snapshot
from owui_vault.vault.documents import (
    KEY_NAME,
    LARGEST_MANIFEST_BYTES,
    MANIFEST_NAME,
    OUTSIDE,
    manifest_from_bytes,
)
from owui_vault.vault.locate import choose
from owui_vault.vault.parts import Parts, Repository, Watch
from owui_vault.vault.survey import listed, patiently


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A snapshot and the repository that holds it."""

    repository: Repository
    snapshot: Snapshot


def find(parts: Parts, wanted: Snapshot | str, name: str | None, watch: Watch) -> Found:
    """The snapshot that is meant, in the first repository that answers and has it.

    Raises what the last repository said when none has it.
    """
    if isinstance(wanted, Snapshot):
        (repository,) = parts.select(name or wanted.repository)
        return _find_in(parts, repository, wanted.engine_id, wanted.instance or parts.series(), watch)
    failure: VaultError | None = None
    for repository in parts.select(name):
        try:
            return _find_in(parts, repository, wanted, parts.series(), watch)
        except SnapshotMissingError as error:
            failure = error
        except VaultError as error:
            failure = failure or error
    if failure is None:
        raise SnapshotMissingError(f"there is no snapshot {wanted!r}")
    raise failure


def _find_in(parts: Parts, repository: Repository, wanted: str, series: str, watch: Watch) -> Found:
    everything = listed(parts, repository, watch)
    of_the_series = [each for each in everything if each.label and each.instance == series]
    if not of_the_series and parts.instance is None and parts.series_name is None:
        # Without a configured instance the only series there is will be meant.
        names = {each.instance for each in everything if each.label}
        of_the_series = [each for each in everything if each.label and len(names) == 1]
    return Found(repository=repository, snapshot=choose(of_the_series, wanted))


def read_manifest(parts: Parts, found: Found, watch: Watch) -> Manifest:
    """The manifest of a snapshot, fetched by itself. Raises ContentMismatchError where it has none that can be read."""
    with tempfile.TemporaryDirectory(prefix="owui-vault-") as folder:
        target = Path(folder)
        call = parts.call(found.repository, watch)
        engine = found.repository.engine
        patiently(parts, lambda: engine.fetch(found.snapshot.engine_id, target, call, paths=(MANIFEST_NAME,)), watch)
        return manifest_in(target, found.snapshot)


def read_key(parts: Parts, found: Found, watch: Watch) -> Secret | None:
    """The secret key a snapshot holds; None where it holds none."""
    with tempfile.TemporaryDirectory(prefix="owui-vault-") as folder:
        call = parts.call(found.repository, watch)
        engine, target = found.repository.engine, Path(folder)
        paths = (f"{OUTSIDE}/{KEY_NAME}",)
        patiently(parts, lambda: engine.fetch(found.snapshot.engine_id, target, call, paths=paths), watch)
        path = target / OUTSIDE / KEY_NAME
        is_plain = path.is_file() and not path.is_symlink() and not path.parent.is_symlink()
        return Secret(path.read_text(errors="surrogateescape")) if is_plain else None


def manifest_in(tree: Path, snapshot: Snapshot) -> Manifest:
    """The manifest of a fetched tree, if it belongs to the snapshot it came with."""
    path = tree / MANIFEST_NAME
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_MANIFEST_BYTES:
        raise ContentMismatchError(
            f"snapshot {snapshot.id} holds no {MANIFEST_NAME}",
            hint="Choose another snapshot, or restore with restic or borg alone.",
        )
    manifest = manifest_from_bytes(path.read_bytes())
    if snapshot.label and manifest.id != snapshot.label.id:
        raise ContentMismatchError(
            f"the manifest in snapshot {snapshot.id} says it is {manifest.id}",
            hint="The repository's labels were changed by hand; choose another snapshot.",
        )
    return manifest
