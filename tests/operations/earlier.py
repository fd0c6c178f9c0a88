"""What earlier versions wrote, unpacked here as if it had been written here (`tests/data/make_written_by.py`)."""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from owui_vault import Manifest, RunRecord, Snapshot
from owui_vault.system import procfs
from owui_vault.system.clock import SystemClock
from tests.pages import unpack_safely

DATA = Path(__file__).parents[1] / "data"
#: Each keeps its place here for as long as this program exists.
VERSIONS = sorted(path.name for path in DATA.glob("written_by_*"))
HOLDS = sorted(f"{path.parents[1].name}/{path.stem}" for path in DATA.glob("written_by_*/holds/*.json"))


@dataclass(frozen=True)
class Site:
    """An instance, with the state and the repository of its vault, and what has to be found in them."""

    folder: Path
    expected: dict[str, Any]

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def journal(self) -> Path:
        (found,) = (self.folder / "state/instances/open-webui/journal").iterdir()
        return found


def unpack(version: str, name: str, folder: Path) -> Site:
    """The site of that name, below `folder`. What is named after its path gets the name of its new one."""
    with tarfile.open(DATA / version / f"{name}.tar.gz") as archive:
        unpack_safely(archive, folder)
    state, data_dir = folder / "state", _digits(folder.resolve() / "data")
    for place, new in (
        ("instances/open-webui/journal/*", data_dir),
        ("work/open-webui-*", f"open-webui-{data_dir}"),
        ("repositories/one-*", f"one-{_digits(folder / 'repository')}"),
        ("repositories/two-*", f"two-{_digits(folder / 'second')}"),
    ):
        for found in state.glob(place):
            found.rename(found.with_name(new))
    for record in state.glob("instances/*/journal/*/*.json"):
        record.write_text(filled_in(record.read_text(), folder))
    return Site(folder, json.loads((folder / "expected.json").read_text()))


def place_hold(hold: str, journal: Path, folder: Path, process: procfs.ProcessIdentity | None = None) -> None:
    """Put the record of a hold into a journal, as if the run had been killed here."""
    version, name = hold.split("/")
    journal.mkdir(mode=0o700)
    text = filled_in((DATA / version / "holds" / f"{name}.json").read_text(), folder, process)
    (journal / f"{json.loads(text)['id']}.json").write_text(text)


def described(snapshot: Snapshot) -> dict[str, object]:
    assert snapshot.label is not None
    return {
        "id": snapshot.id,
        "engine_id": snapshot.engine_id,
        "outcome": snapshot.label.outcome.value,
        "sequence": snapshot.label.sequence,
        "tags": list(snapshot.label.tags),
        "verified": snapshot.verified_at is not None,
        "verified_all": snapshot.verified_all_at is not None,
        # Since format 2.
        "format": snapshot.label.format,
        "plan": snapshot.plan,
        "pinned": snapshot.pinned,
        "users": snapshot.users,
        "uploads": snapshot.uploads,
    }


def described_manifest(manifest: Manifest) -> dict[str, object]:
    return {
        "format": manifest.format,
        "plan": manifest.plan,
        "users": manifest.users,
        "chats": manifest.chats,
        "uploads": manifest.uploads,
        "sqlite": manifest.sqlite,
        "components": [[each.name.value, each.kind.value, each.files, each.size_bytes] for each in manifest.components],
        "checked": sorted(each.checked for each in manifest.databases),
        "ledger": [[each.snapshot, each.kind, each.ok, each.depth] for each in manifest.ledger],
    }


def described_run(run: RunRecord) -> dict[str, object]:
    return {
        "id": run.id,
        "plan": run.plan,
        "outcome": run.outcome.value,
        "steps": [[each.step.value, each.outcome.value] for each in run.steps],
    }


def filled_in(text: str, folder: Path, process: procfs.ProcessIdentity | None = None) -> str:
    words = {
        "@FOLDER@": str(folder),
        "@BOOT@": procfs.boot_id(),
        "@SETTLED@": f"{SystemClock().monotonic():.3f}",
        "@PROCESS@": str(process),
    }
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _digits(path: Path) -> str:
    return sha256(os.fsencode(path)).hexdigest()[:8]
