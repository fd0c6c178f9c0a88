r"""Names that are not UTF-8.

restic's listing has U+FFFD for each such byte, its trees have them quoted as Go does (`\xff`).

A directory with such names is listed again from its tree, which costs a call of restic for each directory on the way.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from owui_vault.engines.restic.output import KINDS
from owui_vault.engines.restic.program import Restic
from owui_vault.errors import EngineOutputError
from owui_vault.model import Entry

UNDECODABLE = "\ufffd"
_ESCAPE = re.compile(r'\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([abfnrtv\\"\']))')
_SIGNS = dict(zip("abfnrtv\\\"'", "\a\b\f\n\r\t\v\\\"'", strict=True))


def unquoted(name: str) -> str:
    """The name that Go's `strconv.Quote` wrote, bytes that are not UTF-8 as lone surrogates."""
    raw, position = b"", 0
    for match in _ESCAPE.finditer(name):
        raw += name[position : match.start()].encode(errors="surrogateescape")
        byte, short, long, sign = match.groups()
        raw += bytes.fromhex(byte) if byte else (_SIGNS[sign] if sign else chr(int(short or long, 16))).encode()
        position = match.end()
    return os.fsdecode(raw + name[position:].encode(errors="surrogateescape"))


class ExactNames:
    """Lists directories from their trees, each tree fetched once."""

    def __init__(self, restic: Restic, root: str) -> None:
        self._restic = restic
        self._root = root
        self._trees: dict[str, list[dict[str, Any]]] = {}

    def below(self, folder: str) -> Iterator[Entry]:
        """The entries of this directory, and everything below those of its directories whose names are not UTF-8."""
        tree = self._root
        for name in filter(None, folder.split("/")):
            tree = next(node["subtree"] for node in self._nodes(tree) if unquoted(node["name"]) == name)
        yield from self._entries(folder, tree, everything=False)

    def _entries(self, folder: str, tree: str, *, everything: bool) -> Iterator[Entry]:
        for node in self._nodes(tree):
            name, kind = unquoted(node["name"]), node["type"]
            path = f"{folder}/{name}" if folder else name
            size = int(node.get("size") or 0) if kind == "file" else 0
            yield Entry(path=path, kind=kind if kind in KINDS else "other", size_bytes=size)
            if kind == "dir" and (everything or not is_plain(name)):
                yield from self._entries(path, node["subtree"], everything=True)

    def _nodes(self, tree: str) -> Sequence[dict[str, Any]]:
        if tree not in self._trees:
            result = self._restic.run("cat", "--no-lock", "blob", tree)
            if result.status != 0:
                raise self._restic.error(result.status, result.stderr, result.argv)
            try:
                self._trees[tree] = json.loads(result.stdout)["nodes"] or []
            except (ValueError, KeyError, TypeError) as error:
                raise EngineOutputError(f"unexpected content of restic's tree {tree[:8]}", engine="restic") from error
        return self._trees[tree]


def is_plain(name: str) -> bool:
    """Whether restic's listing shows this name, or path, as it is."""
    return not re.search("[\udc80-\udcff\ufffd]", name)
