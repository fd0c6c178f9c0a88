"""For mkdocs: brings examples/ into the site, where pages link to them. See mkdocs.yml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_TO_AN_EXAMPLE = re.compile(r"\]\(\.\./(examples/[^)]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link to an example leads to its copy."""
    return _TO_AN_EXAMPLE.sub(r"](\1)", markdown)


def on_files(files: Any, config: Any) -> Any:
    """The examples that pages link to, as they are."""
    pages = files.documentation_pages()
    for path in sorted({path for page in pages for path in _TO_AN_EXAMPLE.findall(page.content_string)}):
        files.append(type(pages[0]).generated(config, path, abs_src_path=str(_ROOT / path)))
    return files
