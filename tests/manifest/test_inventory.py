"""The digest of a component depends on names and sizes, and on nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from owui_vault.manifest.inventory import FileList, Listed, component_records, from_entries, from_inventory, from_tree
from owui_vault.model import Component, Entry

ODD = ("new\nline", "quote'\"", "{a,b}", os.fsdecode(b"raw-\xff"), "ü", "a b", "-rf", "tab\t")


def test_the_digest_is_what_the_documentation_says(at_rest: Path) -> None:
    for name in ODD:
        (at_rest / "uploads" / name).write_bytes(name.encode(errors="surrogateescape"))
    (record,) = (each for each in component_records(from_tree(at_rest)) if each.name is Component.UPLOADS)
    lines = sorted(
        b"uploads/" + os.fsencode(each.name) + b"\0" + str(each.stat().st_size).encode() + b"\n"
        for each in (at_rest / "uploads").iterdir()
    )
    assert record.digest == hashlib.sha256(b"".join(lines)).hexdigest()
    assert record.files == 8 + len(ODD)


def test_tree_inventory_and_engine_agree(
    at_rest: Path, tmp_path: Path, entries_of: Callable[[Path], list[Entry]], seed: random.Random
) -> None:
    for name in ODD:
        (at_rest / "uploads" / name).write_bytes(b"123")
    (at_rest / "uploads" / "link").symlink_to("nowhere")
    (at_rest / "linked-folder").symlink_to(at_rest / "uploads")
    entries = entries_of(at_rest)
    seed.shuffle(entries)
    inventory = tmp_path / "inventory"
    with inventory.open("w") as file:
        for entry in entries:
            path = entry.path.removeprefix("data/")
            file.write(json.dumps({"path": path, "kind": entry.kind, "size": entry.size_bytes, "inode": 1}) + "\n")
    assert component_records(from_tree(at_rest)) == component_records(from_entries(entries))
    inside = [line for line in inventory.read_text().splitlines() if '"manifest.json"' not in line]
    inventory.write_text("\n".join(inside) + "\n")
    assert component_records(from_inventory(inventory)) == component_records(from_tree(at_rest))


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: "\0" not in name), st.integers(0, 1 << 50)))
def test_order_does_not_matter_and_sizes_are_found_again(sizes: dict[str, int]) -> None:
    listed = [Listed(f"uploads/{name}", size) for name, size in sizes.items()]
    assert component_records(listed) == component_records(reversed(listed))
    with FileList(listed) as files:
        for each in listed:
            assert files.size_of(each.path) == each.size_bytes
        assert files.size_of("uploads/") is None
