"""Owners, access lists, extended attributes and holes: what a capture had, and what was restored.

A manifest holds only totals: how many entries belong to whom, how many have which attribute, and one digest over these.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from owui_vault.components.uploads import printable
from owui_vault.instance.layout import component_of
from owui_vault.model import AttributeRecord, Component, ExtendedRecord, Manifest, OwnerRecord
from owui_vault.system.attributes import read_extended, summed_up
from owui_vault.system.filesystem import hole_bytes

_AROUND = ("", "cache", "cache/image")  # folders in which components lie
_LARGE_BYTES = 1 << 20
_MATTERS_BYTES = 16 << 20
_DIGEST_BITS = 128


class _Sums:
    """What was counted of one component."""

    def __init__(self) -> None:
        self.owners: Counter[tuple[int, int]] = Counter()
        self.entries: Counter[str] = Counter()
        self.digests: Counter[str] = Counter()
        self.holes = 0

    def add(self, owner: tuple[int, int], extended: Mapping[str, int], holes: int) -> None:
        self.owners[owner] += 1
        for name, number in extended.items():
            self.entries[name] += 1
            self.digests[name] = (self.digests[name] + number) % (1 << _DIGEST_BITS)
        self.holes += holes

    def record(self, component: Component | None) -> AttributeRecord:
        return AttributeRecord(
            component=component,
            owners=tuple(OwnerRecord(user=u, group=g, entries=n) for (u, g), n in sorted(self.owners.items())),
            extended=tuple(
                ExtendedRecord(name=name, entries=count, digest=f"{self.digests[name]:032x}")
                for name, count in sorted(self.entries.items())
            ),
            hole_bytes=self.holes,
        )


def _component(path: str) -> Component | None:
    return None if path in _AROUND else component_of(path)


def _records(sums: Mapping[Component | None, _Sums]) -> tuple[AttributeRecord, ...]:
    order: tuple[Component | None, ...] = (None, *Component)
    return tuple(sums[each].record(each) for each in order if each in sums)


def attribute_records(inventory: Path) -> tuple[AttributeRecord, ...]:
    """What the live entries of a capture had, from its inventory."""
    sums: dict[Component | None, _Sums] = {}
    with inventory.open(encoding="ascii") as lines:
        for line in lines:
            entry = json.loads(line)
            found = sums.setdefault(_component(entry["path"]), _Sums())
            found.add((entry["user"], entry["group"]), entry.get("extended", {}), entry.get("holes", 0))
    return _records(sums)


def attributes_of_tree(data_dir: Path) -> tuple[AttributeRecord, ...]:
    """The same of a data directory at rest. No link is followed."""
    sums: dict[Component | None, _Sums] = {}
    for path, place in _entries(os.fspath(data_dir)):
        with suppress(FileNotFoundError):
            status = os.lstat(place)
            large = stat.S_ISREG(status.st_mode) and status.st_size > _LARGE_BYTES
            extended = {} if stat.S_ISLNK(status.st_mode) else summed_up(path, read_extended(place))
            found = sums.setdefault(_component(path), _Sums())
            found.add((status.st_uid, status.st_gid), extended, hole_bytes(place, status) if large else 0)
    return _records(sums)


def _entries(root: str) -> Iterator[tuple[str, str]]:
    yield "", root
    for folder, below, files in os.walk(root):
        for name in (*below, *files):
            place = f"{folder}/{name}"
            yield place[len(root) + 1 :], place


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """In place: the live data directory, and whose its files are. The application may have another number here."""

    live: Path
    user: int
    group: int


def attribute_warnings(
    data_dir: Path, manifest: Manifest, components: Collection[Component], *, adopted: Adopted | None = None
) -> tuple[str, ...]:
    """What was restored without its owner, attributes or holes: one warning about each kind.

    Whether it worked is looked at; who restores does not count. A manifest of the first versions says nothing of it.
    With `adopted` the folders around the components are today's, and what was the application's was given to today's.
    """
    whole = adopted is None and {record.name for record in manifest.components} <= set(components)
    here = {record.component: record for record in attributes_of_tree(data_dir)}
    pairs = [
        (record, here[record.component])
        for record in manifest.attributes
        if record.component in here and (whole if record.component is None else record.component in components)
    ]
    return (
        *_owner_warning(data_dir, manifest, pairs, adopted),
        *_extended_warning(pairs),
        *_hole_warning(pairs),
    )


_Pairs = list[tuple[AttributeRecord, AttributeRecord]]


def _owner_warning(data_dir: Path, manifest: Manifest, pairs: _Pairs, adopted: Adopted | None) -> Iterator[str]:
    if not manifest.attributes:
        yield "the snapshot does not record its files' owners: check whether the application can use the restored files"
        return
    wanted, found = (_sum_of_owners(each[side] for each in pairs) for side in (0, 1))
    if adopted:
        wanted = _as_adopted(wanted, manifest, adopted)
    lost = wanted - found
    if not lost:
        return
    belonged = ", ".join(f"{user}:{group}" for user, group in sorted(lost))
    belongs = ", ".join(f"{user}:{group}" for user, group in sorted(found - wanted))
    compared = {record.component for record, _ in pairs}
    others = (
        path or "."
        for path, place in _entries(os.fspath(data_dir))
        if _component(path) in compared and _owner(place) in found - wanted
    )
    user, group = next(iter(lost))
    live = adopted.live if adopted else data_dir
    remedy = f"`chown -R {user}:{group} {live}`" if len(wanted) == 1 else "`chown`"
    yield (
        f"owners could not be restored: {sum(lost.values()):,} of {wanted.total():,} entries belonged to {belonged}"
        f" and belong to {belongs or 'others'} now, for example {printable(min(others, default='.'))};"
        f" {remedy} by a user who may gives them back"
    )


def _as_adopted(wanted: Counter[tuple[int, int]], manifest: Manifest, adopted: Adopted) -> Counter[tuple[int, int]]:
    """The same with what belonged to the application given to whom today's data belong."""
    order = {Component.DATABASE: 0, None: 1}  # the database's, else the folders around; as it is looked at in place
    first = min(manifest.attributes, key=lambda each: order.get(each.component, 2))
    ((application, group), _), *_ = _sum_of_owners(iter((first,))).most_common(1)
    now = (adopted.user, adopted.group)
    given: Counter[tuple[int, int]] = Counter()
    for owner, entries in wanted.items():
        given[now if owner[0] == application and now != (application, group) else owner] += entries
    return given


def _owner(place: str) -> tuple[int, int]:
    status = os.lstat(place)
    return status.st_uid, status.st_gid


def _sum_of_owners(records: Iterator[AttributeRecord]) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for each in (owner for record in records for owner in record.owners):
        found[each.user, each.group] += each.entries
    return found


def _extended_warning(pairs: _Pairs) -> Iterator[str]:
    lost = []
    for record, here in pairs:
        there = {each.name: each for each in here.extended}
        for name in sorted({each.name for each in record.extended} | set(there)):
            wanted = next((each for each in record.extended if each.name == name), None)
            if wanted != there.get(name):
                lost.append(f"{name} of {record.component.value if record.component else 'the data directory'}")
    if lost:
        yield f"access lists or extended attributes were not restored as they were: {', '.join(lost)}"


def _hole_warning(pairs: _Pairs) -> Iterator[str]:
    missing = sum(max(0, record.hole_bytes - here.hole_bytes) for record, here in pairs)
    if missing > _MATTERS_BYTES:
        yield (
            f"holes in files were filled with {missing >> 20:,} MiB of zeros: restic keeps them from 0.15 on, borg"
            " always; `fallocate --dig-holes` makes them again"
        )
