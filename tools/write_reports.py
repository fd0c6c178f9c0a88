"""Write docs/reports.md: the fields of every value that a method of `Vault` returns, made from the code.

The meaning of a field is the comment beside it, or stands in the text of its class. `--check` only looks, and ends with
status 1 when the page is out of date.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import owui_vault
from owui_vault import Manifest, Vault

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reports.md"
ELSEWHERE = {Manifest: "manifest.md#manifestjson"}  # described on a page of its own, with all that is in it
_CODE = re.compile(r"\b(?:noqa|type|pragma): ?\S+\s*")
HEAD = """\
# Fields of the reports

What each method of `Vault` returns, and `--json` prints: made from the code by `make schemas`, like the text of each
class. How they are used: [Python](python.md).

In JSON a time is ISO 8601 in UTC with `Z`, a duration has `_seconds` at the end of its name, a tuple is a list, a path
a text, and an error an object with `type`, `message`, `hint` and `exit_code`.

| method of `Vault`, or function | returns |
| --- | --- |
"""


def page() -> str:
    """The text of the page."""
    rows, kinds = [], []
    public = {name: getattr(owui_vault, name) for name in sorted(owui_vault.__all__)}
    functions = {name: each for name, each in public.items() if inspect.isfunction(each)}
    for name, method in [*inspect.getmembers(Vault, inspect.isfunction), *functions.items()]:
        if name.startswith("_"):
            continue
        answer = get_type_hints(method, vars(inspect.getmodule(method)) | vars(owui_vault)).get("return")
        found = [kind for kind in _named(answer) if _is_described(kind)]
        if found:
            rows.append(f"| `{name}` | {_shown(_annotation_of(method))} |")
            kinds += found
    sections = [_section(kind) for kind in sorted(_with_parts(kinds), key=lambda each: each.__name__)]
    return HEAD + "\n".join(rows) + "\n\n" + "\n".join(sections)


def _named(hint: object) -> Iterator[type[Any]]:
    """All classes in an annotation."""
    if isinstance(hint, type) and not get_args(hint):
        yield hint
    for each in get_args(hint):
        yield from _named(each)


def _is_described(kind: type[Any]) -> bool:
    return (is_dataclass(kind) or issubclass(kind, Enum | tuple)) and kind.__module__.startswith("owui_vault.model")


def _with_parts(kinds: list[type[Any]]) -> set[type[Any]]:
    """These, and what their fields are made of."""
    found: set[type[Any]] = set()
    left = list(kinds)
    while left:
        kind = left.pop()
        if kind in found or kind in ELSEWHERE:
            continue
        found.add(kind)
        if not issubclass(kind, Enum):
            hints = [*_hints(kind).values(), *getattr(kind, "__orig_bases__", ())]  # the bases of a list of reports
            left += (each for hint in hints for each in _named(hint) if _is_described(each))
    return found


def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind, vars(inspect.getmodule(kind)) | vars(owui_vault))


def _section(kind: type[Any]) -> str:
    text = inspect.cleandoc(kind.__doc__ or "")
    lines = [f"## {kind.__name__}", "", text, ""]
    beside = _comments(kind)
    if not issubclass(kind, Enum):
        lines += ["| field | kind | |", "| --- | --- | --- |"]
        inherited = {each.name: str(each.type) for each in fields(kind)} if is_dataclass(kind) else {}
        for name, annotation in (inherited | _annotations(kind)).items():
            called = f"`{name}`" + (f" (JSON: `{name}_seconds`)" if "timedelta" in annotation else "")
            lines.append(f"| {called} | {_shown(annotation)} | {_cell(beside, name)} |")
    else:
        lines += ["| value | |", "| --- | --- |"]
        lines += [f"| `{member.value}` | {_cell(beside, name)} |" for name, member in kind.__members__.items()]
    return "\n".join(lines) + "\n"


def _cell(comments: dict[str, str], name: str) -> str:
    return comments.get(name, "").replace("|", "\\|")


def _shown(annotation: str) -> str:
    """An annotation as code, with links to what is described here or elsewhere."""
    plain = annotation.replace("|", "or")
    links = {kind.__name__: where for kind, where in ELSEWHERE.items()}

    def link(match: re.Match[str]) -> str:
        kind = getattr(owui_vault, match[0], None)
        if match[0] in links:
            return f"[{match[0]}]({links[match[0]]})"
        if isinstance(kind, type) and _is_described(kind):
            return f"[{match[0]}](#{match[0].lower()})"
        return match[0]

    return re.sub(r"\b[A-Z]\w+", link, re.sub(r"\btuple\[(.*), \.\.\.\]", r"any number of \1", plain))


def _annotation_of(method: object) -> str:
    return str(inspect.signature(method).return_annotation)  # type: ignore[arg-type]  # of a class, they are callable


def _body(kind: type[Any]) -> tuple[str, list[ast.stmt]]:
    source = textwrap.dedent(inspect.getsource(kind))
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    return source, tree.body


def _annotations(kind: type[Any]) -> dict[str, str]:
    _, body = _body(kind)
    return {
        each.target.id: ast.unparse(each.annotation)
        for each in body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }


def _comments(kind: type[Any]) -> dict[str, str]:
    """The comment beside each field or value."""
    source, body = _body(kind)
    said: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            said[token.start[0]] = _CODE.sub("", token.string.lstrip("#: ")).strip()
    found = {}
    for each in body:
        target = (
            each.target
            if isinstance(each, ast.AnnAssign)
            else each.targets[0]
            if isinstance(each, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and each.end_lineno:
            texts = [said[line] for line in range(each.lineno, each.end_lineno + 1) if said.get(line)]
            found[target.id] = " ".join(texts)
    return found


def main() -> int:
    text = page()
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in sys.argv:
        print("docs/reports.md is out of date; run `make schemas`", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
