"""Owners, access lists, extended attributes and holes: counted at the capture, and compared after a restore."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from owui_vault.manifest.attribute_records import Adopted, attribute_records, attribute_warnings, attributes_of_tree
from owui_vault.manifest.documents import manifest_from_bytes, manifest_to_bytes
from owui_vault.model import (
    ApplicationRecord,
    Component,
    ComponentKind,
    ComponentRecord,
    Manifest,
    Outcome,
    Proof,
    ProofRecord,
    SecretKeyRecord,
)
from owui_vault.system.attributes import read_extended, summed_up
from owui_vault.testing.trees import give_attributes

MIB = 1 << 20


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    data_dir = tmp_path / "data"
    (data_dir / "uploads").mkdir(parents=True)
    (data_dir / "cache" / "functions").mkdir(parents=True)
    for name in ("webui.db", "uploads/a", "uploads/b", "cache/functions/plugin.py"):
        (data_dir / name).write_bytes(b"content")
    (data_dir / "link").symlink_to("uploads")
    for name in ("", "uploads", "uploads/a"):
        give_attributes(data_dir / name)
    return data_dir


@pytest.fixture
def manifest(data_dir: Path) -> Manifest:
    names = (Component.DATABASE, Component.UPLOADS, Component.PLUGIN_FILES, Component.OTHER)
    components = tuple(
        ComponentRecord(name=name, kind=ComponentKind.FILES, files=1, size_bytes=7, digest="") for name in names
    )
    return Manifest(
        id="0a1b2c3d",
        instance="open-webui",
        fingerprint="",
        instant=datetime(2026, 11, 20, 3, 0, tzinfo=UTC),
        sequence=7,
        outcome=Outcome.COMPLETE,
        problems=(),
        warnings=(),
        tags=(),
        proof=ProofRecord(mode=Proof.LIVE, attempts=1),
        application=ApplicationRecord(),
        databases=(),
        components=components,
        vector_files=(),
        collections=(),
        left_out=(),
        secret_key=SecretKeyRecord(found=True),
        attributes=attributes_of_tree(data_dir),
    )


def warnings(data_dir: Path, manifest: Manifest, *components: Component) -> list[str]:
    chosen = components or [record.name for record in manifest.components]
    return list(attribute_warnings(data_dir, manifest, chosen))


def test_a_tree_and_an_inventory_of_it_are_counted_alike(data_dir: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.jsonl"
    with inventory.open("w") as file:
        for path in [data_dir, *data_dir.rglob("*")]:
            name = str(path.relative_to(data_dir)) if path != data_dir else ""
            status = path.lstat()
            extended = {} if path.is_symlink() else summed_up(name, read_extended(str(path)))
            entry = {"path": name, "user": status.st_uid, "group": status.st_gid, "extended": extended}
            file.write(json.dumps(entry) + "\n")
    records = attribute_records(inventory)
    assert records == attributes_of_tree(data_dir)
    assert [record.component for record in records] == [
        None,
        Component.DATABASE,
        Component.UPLOADS,
        Component.PLUGIN_FILES,
        Component.OTHER,
    ]
    assert sum(owner.entries for record in records for owner in record.owners) == 9


def test_what_came_back_as_it_was_is_no_matter(data_dir: Path, manifest: Manifest) -> None:
    assert manifest_from_bytes(manifest_to_bytes(manifest)) == manifest
    assert warnings(data_dir, manifest) == []


@pytest.mark.parametrize("name", ["", "uploads", "uploads/a"])
def test_a_lost_access_list_or_attribute_is_one_warning(data_dir: Path, manifest: Manifest, name: str) -> None:
    for each in read_extended(str(data_dir / name)):
        os.removexattr(data_dir / name, each)
    (told,) = warnings(data_dir, manifest)
    where = "uploads" if name else "the data directory"
    assert f"system.posix_acl_access of {where}" in told
    assert f"user.comment of {where}" in told


def test_another_value_and_one_too_many_are_noticed_too(data_dir: Path, manifest: Manifest) -> None:
    os.setxattr(data_dir / "uploads/a", "user.comment", b"another")
    assert warnings(data_dir, manifest) == [
        "access lists or extended attributes were not restored as they were: user.comment of uploads"
    ]
    os.setxattr(data_dir / "webui.db", "user.more", b"")
    assert warnings(data_dir, manifest, Component.DATABASE) == [
        "access lists or extended attributes were not restored as they were: user.more of database"
    ]


@pytest.mark.root
def test_other_owners_are_one_warning_with_the_way_out(data_dir: Path, manifest: Manifest) -> None:
    for path in [data_dir, *data_dir.rglob("*")]:
        os.lchown(path, 1000, 1001)
    before = replace(manifest, attributes=attributes_of_tree(data_dir))
    assert warnings(data_dir, before) == []
    for path in [data_dir, *data_dir.rglob("*")]:
        os.lchown(path, 0, 0)
    assert warnings(data_dir, before) == [
        "owners could not be restored: 9 of 9 entries belonged to 1000:1001 and belong to 0:0 now, for example .;"
        f" `chown -R 1000:1001 {data_dir}` by a user who may gives them back"
    ]
    today = Adopted(live=data_dir, user=0, group=0)
    assert list(attribute_warnings(data_dir, before, list(Component), adopted=today)) == []


@pytest.mark.root
def test_a_single_component_is_compared_with_its_own_owners(data_dir: Path, manifest: Manifest) -> None:
    os.chown(data_dir, 7, 7)
    os.chown(data_dir / "uploads/a", 7, 7)
    (told,) = warnings(data_dir, manifest, Component.UPLOADS)
    assert told.startswith(
        "owners could not be restored: 1 of 3 entries belonged to 0:0 and belong to 7:7 now, for example uploads/a;"
    )


@pytest.mark.root
def test_in_place_whoever_was_not_the_application_is_missed(data_dir: Path, manifest: Manifest) -> None:
    """The application's files are given to today's application; a stranger's among them would be its own silently."""
    for path in [data_dir, *data_dir.rglob("*")]:
        os.lchown(path, 1000, 1001)
    os.lchown(data_dir / "uploads/a", 4321, 4321)
    before = replace(manifest, attributes=attributes_of_tree(data_dir))
    for path in [data_dir, *data_dir.rglob("*")]:
        os.lchown(path, 2000, 2000)
    today = Adopted(live=Path("/srv/live"), user=2000, group=2000)
    (told,) = attribute_warnings(data_dir, before, list(Component), adopted=today)
    assert told.startswith("owners could not be restored: 1 of 7 entries belonged to 4321:4321")
    os.lchown(data_dir / "uploads/a", 4321, 4321)
    assert list(attribute_warnings(data_dir, before, list(Component), adopted=today)) == []


def test_a_manifest_that_does_not_say_whose_its_files_were_is_told_to_whoever_asks(
    data_dir: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks does not count: nobody can see there whether owners came back."""
    document = json.loads(manifest_to_bytes(manifest))
    del document["attributes"]
    old = manifest_from_bytes(json.dumps(document).encode())
    assert old.attributes == ()
    for user in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        (told,) = attribute_warnings(data_dir, old, list(Component))
        assert told.startswith("the snapshot does not record its files' owners")


def test_filled_holes_are_told_from_a_size_on_that_matters(data_dir: Path, manifest: Manifest) -> None:
    sparse = data_dir / "sparse.bin"
    sparse.touch()
    os.truncate(sparse, 40 * MIB)
    before = replace(manifest, attributes=attributes_of_tree(data_dir))
    assert [record.hole_bytes for record in before.attributes if record.component is Component.OTHER] == [40 * MIB]
    assert warnings(data_dir, before) == []
    with sparse.open("wb") as file:
        file.write(bytes(40 * MIB))
        os.fsync(file.fileno())
    (told,) = warnings(data_dir, before)
    assert told.startswith("holes in files were filled with 40 MiB of zeros")
