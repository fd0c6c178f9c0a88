"""Write the JSON Schemas of what a snapshot says about itself: docs/manifest.schema.json and docs/label.schema.json.

They are made from the values themselves, so that they cannot say anything else; a test compares. Those of format 1,
manifest-1.schema.json and label-1.schema.json, stay as they are: it is read for ever, and not written any more.
`--check` only looks, and ends with status 1 when one is out of date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from owui_vault.model import LABEL_FORMAT, MANIFEST_FORMAT, Label, Manifest, Outcome
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

DOCS = Path(__file__).resolve().parent.parent / "docs"
TITLES: dict[str, tuple[type[Any], str, int]] = {
    "manifest": (Manifest, "manifest.json of an owui_vault snapshot", MANIFEST_FORMAT),
    "label": (Label, "label of an owui_vault snapshot", LABEL_FORMAT),
}


class AsWritten(GenerateJsonSchema):
    """Describes what is written, which is every field; a default only matters to whoever makes a value."""

    def field_is_required(self, *_: Any, **__: Any) -> bool:
        return True


def schema(name: str) -> str:
    """The text of one schema file."""
    kind, title, number = TITLES[name]
    described = TypeAdapter(kind).json_schema(mode="serialization", schema_generator=AsWritten)
    described.pop("title", None)
    described.pop("description", None)
    described["$defs"]["Outcome"]["enum"].remove(Outcome.FAILED.value)  # what has failed was not stored
    described["properties"]["format"] = {"const": number, "title": "Format", "type": "integer"}
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **described}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    stale = []
    for name in TITLES:
        path, text = DOCS / f"{name}.schema.json", schema(name)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.name)
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    if stale and "--check" in sys.argv:
        print(f"out of date: {', '.join(stale)}; run `make schemas`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
