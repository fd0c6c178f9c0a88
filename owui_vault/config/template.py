"""The text of a first configuration: what was found, and what remains to be set, each with a comment."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from owui_vault.config.settings import DEFAULT_INSTANCE_NAME
from owui_vault.model import NAME_PATTERN

_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateValues:
    """What is known of an instance before anything is configured. `found` is a sentence for the comment."""

    container: str
    found: str
    repository: str | None = None
    engine: str | None = None
    passphrase_file: Path | None = None


def first_text(known: TemplateValues) -> str:
    """A configuration that can be read as it is, to be completed by a person."""
    series = known.container if _NAME.fullmatch(known.container) else DEFAULT_INSTANCE_NAME
    comment = "".join(character if character.isprintable() else "?" for character in known.found)
    return f"""\
# owui_vault: what is backed up, and where to. Found: {comment}
# All keys: docs/configuration.md. Keep this file readable by root alone (chmod 600).

instance:
  name: {series}    # the name of its series of snapshots; do not change it later
  container: {_quoted(known.container)}
  quiesce: auto    # live, then a pause of milliseconds where that is not enough; `stop` is used only if it is set here
  # exclude: [audit.log]    # what need not be kept; `cache` (models, speech) is left out already
  # ollama: models    # keep the list of Ollama's models as well, or `blobs`: the models themselves
  # secret_key: /etc/owui-vault/webui_secret_key    # only when `inspect` does not find it

{_repositories(known)}
# plans: {{nightly: {{schedule: "0 3 * * *", verify: 5%}}}}    # what `owui-vault run` does: docs/scheduling.md
# limits: {{freeze: 10s, stop: 60s, lock_wait: 5m}}
"""


def _repositories(known: TemplateValues) -> str:
    file = known.passphrase_file or Path("/etc/owui-vault/first.pass")
    text = f"""\
repositories:
  first:
    engine: {known.engine or "restic"}    # restic or borg
    location: {_quoted(known.repository or "/mnt/backup/open-webui")}    # a path, sftp:, rest:, s3:, b2:, rclone:, ssh://
    passphrase: {{file: {_quoted(str(file))}}}    # keep a copy of it elsewhere: without it nothing can be restored
    keep: {{last: 3, daily: 7, weekly: 4, monthly: 6}}    # what `prune` keeps
"""
    if known.repository:
        return text
    comments = "".join(f"# {line}\n" for line in text.splitlines())
    return f"# Set where snapshots go, and uncomment these lines:\n{comments}"


def _quoted(text: str) -> str:
    """YAML's double quotes are JSON's; `${` would begin a variable."""
    return json.dumps(text).replace("${", "$${")
