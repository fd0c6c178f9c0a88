"""The JSON Schema of `vault.yaml`, for editors.

Written anew by `python -m owui_vault.config.schema > owui_vault/config/vault.schema.json`.
"""

from __future__ import annotations

import json
import sys

from owui_vault.config.document import COMPANIONS, SHORT_FORM, SOURCES, VaultPart
from owui_vault.config.features import NOT_BUILT

_OWNERS = {"instance": "InstancePart", "repositories": "RepositoryPart"}


def schema_text() -> str:
    """The schema as it is shipped: what is not built yet is not in it."""
    schema = VaultPart.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "owui_vault: vault.yaml"
    definitions = schema["$defs"]
    for path in NOT_BUILT:
        owner = schema if len(path) == 1 else definitions[_OWNERS[str(path[0])]]
        owner["properties"].pop(path[-1], None)
    definitions["SecretPart"]["oneOf"] = [{"required": [source, *COMPANIONS.get(source, ())]} for source in SOURCES]
    return json.dumps(_without_noise(schema), indent=2) + "\n"


def _without_noise(value: object) -> object:
    """Drop titles that only repeat the key, and `null`: a key without a value is refused."""
    if isinstance(value, list):
        return [_without_noise(each) for each in value]
    if not isinstance(value, dict):
        return value
    told = {key: _without_noise(each) for key, each in value.items() if key != "title" or "properties" in value}
    choices = told.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        (kept,) = [each for each in choices if each != {"type": "null"}]
        del told["anyOf"]
        told = {**kept, **told}
    if short := told.pop(SHORT_FORM, None):
        told["anyOf"] = [{"type": short}, {"$ref": told.pop("$ref")}]
    if not told.get("default", True):
        del told["default"]  # what stands for "nothing" is no help to anybody
    if "patternProperties" in told:
        told["additionalProperties"] = False
    return told


if __name__ == "__main__":
    sys.stdout.write(schema_text())
