"""The text of a first configuration: what was found, and what remains to be set, each with a comment."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from owui_vault.config.settings import DEFAULT_INSTANCE_NAME
from owui_vault.model import NAME_PATTERN

_NAME = re.compile(NAME_PATTERN)
_FOLDER = Path("/etc/owui-vault")
_PLAIN = re.compile(r"[\w/.+-]+")  # what a shell takes as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateValues:
    """What is known of an instance before anything is configured: its container, or its data directory.

    `found` is a sentence for the comment, `file` where the text will lie, if that is known.
    """

    found: str
    container: str | None = None
    data_dir: Path | None = None
    systemd_unit: str | None = None
    repository: str | None = None
    engine: str | None = None
    passphrase_file: Path | None = None
    file: Path | None = None


def first_text(known: TemplateValues) -> str:
    """A configuration that can be read as it is, to be completed by a person."""
    series = known.container if known.container and _NAME.fullmatch(known.container) else DEFAULT_INSTANCE_NAME
    comment = "".join(character if character.isprintable() else "?" for character in known.found)
    return f"""\
# owui_vault: what is backed up, and where to. Found: {comment}
# All keys: docs/configuration.md. Keep this file readable by root alone (chmod 600).

instance:
  name: {series}    # the name of its series of snapshots; do not change it later
{_place(known)}
  quiesce: auto    # live, then a pause of milliseconds where that is not enough; `stop` is used only if it is set here
  # exclude: [audit.log]    # what need not be kept; `cache` (models, speech) is left out already
{_ollama(known)}
  # secret_key: /etc/owui-vault/webui_secret_key    # only when `inspect` does not find it

{_repositories(known)}
# limits: {{freeze: 10s, stop: 60s, lock_wait: 5m}}
"""


def _place(known: TemplateValues) -> str:
    """Where the data are, and what stops and freezes it there."""
    if known.container is not None:
        return f"  container: {_quoted(known.container)}"
    folder = f"  data_dir: {_quoted(str(known.data_dir))}"
    if known.systemd_unit:
        return f"{folder}\n  systemd_unit: {_quoted(known.systemd_unit)}    # what is paused where that is needed"
    return f"{folder}\n  # systemd_unit: open-webui.service    # the unit it runs in, so that it can be paused"


def _ollama(known: TemplateValues) -> str:
    place = "" if known.container is not None else ", with `ollama_dir: ~/.ollama`"
    return f"  # ollama: models    # keep the list of Ollama's models as well, or `blobs`: the models themselves{place}"


def _repositories(known: TemplateValues) -> str:
    file = known.passphrase_file or (known.file.parent if known.file else _FOLDER) / "first.pass"
    shown = str(file) if _PLAIN.fullmatch(str(file)) else "FILE"
    begin = f"""\
# A passphrase, once:  (umask 077; openssl rand -base64 32 > {shown})
# Then:  owui-vault config validate, owui-vault init, owui-vault snapshot, owui-vault verify
"""
    text = f"""\
repositories:
  first:
    engine: {known.engine or "restic"}    # restic or borg
    location: {_quoted(known.repository or "/mnt/backup/open-webui")}    # a path, sftp:, rest:, s3:, b2:, rclone:, ssh://
    passphrase: {{file: {_quoted(str(file))}}}    # keep a copy of it elsewhere: without it nothing can be restored
    keep: {{last: 3, daily: 7, weekly: 4, monthly: 6}}    # what `prune` keeps

plans:    # what `owui-vault run` does when it is due: docs/scheduling.md
  nightly: {{schedule: "0 3 * * *", verify: 5%}}
"""
    if known.repository:
        return begin + text
    comments = "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())
    return f"{begin}# Set where snapshots go, and uncomment these lines:\n{comments}"


def _quoted(text: str) -> str:
    """YAML's double quotes are JSON's; `${` would begin a variable."""
    return json.dumps(text).replace("${", "$${")
