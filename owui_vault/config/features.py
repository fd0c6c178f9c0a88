"""What a configuration may not use yet: one set, so that such a key is refused and never ignored."""

from __future__ import annotations

from collections.abc import Iterator

from owui_vault.config.errors import ConfigProblem, KeyPath

ANY_NAME = "*"  # a key that the file's author chooses
NOT_BUILT: frozenset[KeyPath] = frozenset({
    ("plans", ANY_NAME, "drill"),
    ("instance", "compose"),
})  # fmt: skip


def take_out_unbuilt(data: dict[object, object]) -> Iterator[ConfigProblem]:
    """Remove the keys of features that are not built yet, and tell of each."""
    for path in sorted(NOT_BUILT, key=str):
        for found in list(_found(data, path)):
            yield ConfigProblem(found, "is not built yet in this version; remove it")


def _found(place: object, path: KeyPath) -> Iterator[KeyPath]:
    """Where in the file such keys stood; they are gone from it."""
    key, *rest = path
    if not isinstance(place, dict):
        return
    if not rest:
        if key in place:
            del place[key]
            yield (key,)
        return
    for name in list(place) if key == ANY_NAME else [key]:
        for found in _found(place.get(name), tuple(rest)):
            yield (name, *found)
