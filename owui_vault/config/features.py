"""What a configuration may not use yet: one set, so that such a key is refused and never ignored."""

from __future__ import annotations

from collections.abc import Iterator

from owui_vault.config.errors import ConfigProblem, KeyPath

NOT_BUILT: frozenset[KeyPath] = frozenset({
    ("plans",),
    ("notifications",),
    ("heartbeat",),
    ("instance", "compose"),
})  # fmt: skip


def take_out_unbuilt(data: dict[object, object]) -> Iterator[ConfigProblem]:
    """Remove the keys of features that are not built yet, and tell of each."""
    for path in sorted(NOT_BUILT):
        *parents, last = path
        place: object = data
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if isinstance(place, dict) and last in place:
            del place[last]
            yield ConfigProblem(path, "is not built yet in this version; remove it")
