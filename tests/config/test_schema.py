"""The shipped JSON Schema."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest
import yaml
from owui_vault.config.schema import schema_text

SHIPPED = files("owui_vault.config").joinpath("vault.schema.json").read_text()
RIGHT = """
instance: {data_dir: /opt/open-webui, quiesce: auto, secret_key: /etc/key}
repositories:
  nas:
    engine: restic
    location: /mnt/nas
    passphrase: {file: /etc/nas.pass}
    environment: {A: plain, B: 5, C: {sealed: keys, name: b, unlock: {env: U}}}
    keep: {last: 3, within: 2d}
plans:
  nightly: {schedule: "0 3 * * *", timezone: Europe/Vienna, repositories: [nas], quiesce: stop, verify: 5%, jitter: 10m}
  carried: {schedule: {every: 1d}, verify: true, prune: false, catch_up: false, grace: 3d}
limits: {freeze: 10s, store: none}
"""


def test_it_is_up_to_date() -> None:
    assert json.loads(SHIPPED) == json.loads(schema_text()), "run python -m owui_vault.config.schema again"


def test_it_accepts_what_is_right() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SHIPPED))
    validator.check_schema(json.loads(SHIPPED))
    validator.validate(yaml.safe_load(RIGHT))


@pytest.mark.parametrize(
    "wrong",
    [
        "instance: {quiesce: never}",
        "instance: {compose: x}",
        "notifications: [{when: [failure]}]",
        "heartbeat: {log: true}",
        "plans: {nightly: {repositories: [nas]}}",
        "plans: {nightly: {schedule: '0 3 * * *', drill: true}}",
        "plans: {nightly: {schedule: {every: 1}}}",
        "plans: {nightly: {schedule: '0 3 * * *', verify: 101%}}",
        "repositories: {nas: {engine: restic, location: x, passphrase: plain}}",
        "repositories: {nas: {engine: restic, location: x, passphrase: {sealed: x}}}",
        "repositories: {NAS: {engine: restic, location: x, passphrase: {env: P}}}",
        "limits: {freeze: 10}",
    ],
)
def test_it_refuses_what_the_package_refuses(wrong: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(wrong), json.loads(SHIPPED))
