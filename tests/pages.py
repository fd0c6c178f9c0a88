"""What stands on the pages of the documentation: fenced blocks, and the commands of ours in them."""

from __future__ import annotations

import re
import shlex
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
#: What may stand before a command: the times of a crontab, variables, another user.
BEFORE = re.compile(r"[\d*/,-]+|\w+=.*|sudo|root")
SHELLS = ("console", "sh", "text", "ini")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block, without its indentation."""

    page: Path
    language: str
    text: str


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, *languages: str) -> list[Block]:
    """The fenced blocks of these languages; of all, when none is named."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [
        Block(
            page=path,
            language=language,
            text="".join(line.removeprefix(indent) for line in text.splitlines(keepends=True)),
        )
        for indent, language, text in found
        if not languages or language in languages
    ]


def shell_lines(block: Block) -> list[str]:
    """What would be typed: behind the prompt where the block shows one, continued lines joined."""
    lines = re.sub(r"\\\n\s*", " ", block.text).splitlines()
    if block.language == "console":
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return lines


def our_arguments(line: str) -> Iterator[list[str]]:
    """The arguments of each call of ours in a shell line, a line of a crontab or an `ExecStart=` of a unit."""
    lexer = shlex.shlex(line.partition("ExecStart=")[2] or line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(lexer.punctuation_chars):
            yield from _ours(command)
            command = []
        else:
            command.append(word)


def _ours(words: list[str]) -> Iterator[list[str]]:
    while words and BEFORE.fullmatch(words[0]):
        words = words[1:]
    if words[:1] == ["owui-vault"] or (words and words[0].endswith("/bin/owui-vault")):
        yield words[1:]
    elif words[1:3] == ["-m", "owui_vault"]:
        yield words[3:]


def our_calls() -> Iterator[tuple[Path, list[str]]]:
    """Every call of ours that a page shows, in a block or between backticks."""
    for page in DOCS:
        lines = [line for block in blocks(page, *SHELLS) for line in shell_lines(block)]
        lines += re.findall(r"`(owui-vault [a-z-][^`…]*)`", page.read_text(encoding="utf-8"))
        for line in lines:
            if re.search("owui.vault", line) and "COMMAND" not in line:  # which is the grammar itself
                yield from ((page, arguments) for arguments in our_arguments(line))


def unpack_safely(archive: tarfile.TarFile, target: Path) -> None:
    """Extract an archive of ours; with the filter for data where this Python knows it (from 3.11.4 on)."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(target, filter="data")
    else:
        archive.extractall(target)
