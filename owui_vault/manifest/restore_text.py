"""RESTORE.txt: how to continue from a snapshot's tree without this package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from owui_vault.components.database.scheduled import describe_scheduled
from owui_vault.components.database.upload_paths import is_same_place
from owui_vault.components.names import ENVIRONMENT_NAME, HELD_NAME, KEY_NAME, OUTSIDE
from owui_vault.manifest.documents import CONFIG_NAME, CONTAINER_NAME
from owui_vault.model import Component, Manifest, Outcome, ScheduledWork, SecretKeyRecord
from owui_vault.model.json_codec import iso

_NUMBER = re.compile(r"^\d\. ")  # of a section: those that say nothing here are not counted
_WIDTH = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What is in the tree that the text is about: `outside` are names, `only` its components where not all came."""

    outside: frozenset[str] = frozenset()
    only: tuple[Component, ...] | None = None

    @classmethod
    def of(cls, tree: Path, only: tuple[Component, ...] | None = None) -> Restored:
        """Look at a tree."""
        folder = tree / OUTSIDE
        names = {path.name for path in folder.iterdir()} if folder.is_dir() and not folder.is_symlink() else ()
        return cls(outside=frozenset(names), only=only)


def restore_text(manifest: Manifest, restored: Restored) -> str:
    """The text, in plain English, for whoever finds the tree years from now."""
    if restored.only is not None and Component.DATABASE not in restored.only:
        parts: tuple[str, ...] = (_heading(manifest), _problems(manifest), _part(restored.only))
        return "\n".join(part for part in parts if part)
    parts = (
        _heading(manifest),
        _problems(manifest),
        _what(restored) if restored.only is None else _part(restored.only),
        _secret_key(manifest, restored),
        _paths(manifest),
        _start(manifest, restored),
        _scheduled(manifest.scheduled, held=HELD_NAME in restored.outside),
        _AFTER,
    )
    numbers = count(1)
    return "\n".join(_NUMBER.sub(lambda _: f"{next(numbers)}. ", part) for part in parts if part)


def _heading(manifest: Manifest) -> str:
    return f"""\
HOW TO BRING THIS OPEN WEBUI BACK
{"=" * _WIDTH}

This is snapshot {manifest.id} of the instance "{manifest.instance}", number {manifest.sequence} of its series.
{_moment(manifest)}
Open WebUI version: {manifest.application.version or "unknown (see alembic_head in manifest.json)"}
Schema (alembic) revision: {manifest.application.alembic_head or "unknown"}

You need nothing but Open WebUI itself; the program that made the snapshot
({manifest.created_by or "owui_vault"}) is not needed.
"""


def _moment(manifest: Manifest) -> str:
    if manifest.outcome is Outcome.COMPLETE:
        return f"Everything in it belongs to one moment: {iso(manifest.instant)}"
    return f"It was taken at {iso(manifest.instant)}; its problems are listed below."


def _problems(manifest: Manifest) -> str:
    if manifest.outcome is Outcome.COMPLETE:
        return ""
    lines = "\n".join(f"  - {problem}" for problem in manifest.problems)
    return f"ATTENTION: this snapshot is INCOMPLETE.\n{lines}\n"


def _what(restored: Restored) -> str:
    known = (
        (KEY_NAME, "the secret key"),
        (ENVIRONMENT_NAME, "the settings"),
        (CONTAINER_NAME, "the container"),
        (CONFIG_NAME, "the backup's configuration"),
    )
    there = [what for name, what in known if name in restored.outside] or ["what was kept outside DATA_DIR"]
    outside = f"  outside/        {', '.join(there)}\n" if restored.outside else ""
    return f"""\
1. What is here
---------------
  data/           a complete DATA_DIR: webui.db, uploads/, vector_db/ and the rest
{outside}  manifest.json   what this is, with counts and checksums

Work on a copy, or make sure the repository still holds the snapshot. Put
data/ into an empty place: files named webui.db-wal, webui.db-shm or
chroma.sqlite3-journal left by another state would be mixed into it.
"""


def _part(only: tuple[Component, ...]) -> str:
    names = ", ".join(each.value for each in only)
    return f"""\
1. What is here
---------------
Only a part of the snapshot was restored: {names}.
data/ is NOT a complete DATA_DIR. Do not start Open WebUI on it; copy from it
what you need, or restore the whole snapshot.
"""


def _secret_key(manifest: Manifest, restored: Restored) -> str:
    key = manifest.secret_key
    if key.found and restored.only is not None and KEY_NAME not in restored.outside:
        return f"""\
2. The secret key was not restored with it
------------------------------------------
Restore the component secret_key as well, and give it to Open WebUI as
WEBUI_SECRET_KEY before the first start; otherwise it makes a new key{_without(key)}.
"""
    if key.found:
        return f"""\
2. The secret key comes first
-----------------------------
outside/webui_secret_key holds WEBUI_SECRET_KEY. Give it to Open WebUI BEFORE
the first start; otherwise it silently makes a new key{_without(key)}.
{_wrong(key)}{_separate(key)}"""
    return f"""\
2. The secret key is NOT here
-----------------------------
It was not found when the snapshot was made. If you have it (it is called
WEBUI_SECRET_KEY, or is in a file .webui_secret_key), give it to Open WebUI
before the first start. Without it everybody has to sign in again{_without(key)}.
{_wrong(key)}{_separate(key)}"""


def _wrong(key: SecretKeyRecord) -> str:
    if not key.unopened:
        return ""
    lines = "".join(f"  - {each}\n" for each in key.unopened)
    return f"ATTENTION: no key that was known when the snapshot was made opens these:\n{lines}"


def _separate(key: SecretKeyRecord) -> str:
    if not key.separate:
        return ""
    return (
        f"Some things are sealed with a key of their own: {', '.join(key.separate)}.\nIt is in outside/environment,"
        " or in outside/container.json.\nGive it to Open WebUI as well.\n"
    )


def _without(key: SecretKeyRecord) -> str:
    return f", and these are lost: {'; '.join(key.needed_because)}" if key.needed_because else ""


def _paths(manifest: Manifest) -> str:
    application = manifest.application
    seen = application.data_dir
    if not seen:
        return ""
    if is_same_place(seen, application.data_dir_here):
        where = "Put data/ at that path again, or change the paths as follows"
    else:
        where = "In a container, mount data/ there. Elsewhere, change the paths as follows"
    return f"""\
3. Where the data must lie
--------------------------
The database holds the path of every upload. The application saw them in
  {seen}/uploads
{where}
(NEW is the absolute path of the new data directory; Open WebUI must not run;
the program sqlite3 must be installed):

  sqlite3 NEW/webui.db "UPDATE file SET path = 'NEW' || substr(path, length('{_sql(seen)}') + 1)
    WHERE substr(path, 1, length('{_sql(seen)}/')) = '{_sql(seen)}/';"
"""  # noqa: S608 - shown to a person, who decides


def _sql(text: str) -> str:
    return text.replace("'", "''")


def _start(manifest: Manifest, restored: Restored) -> str:
    version = manifest.application.version
    package = f"open-webui=={version}" if version else "open-webui"
    image = manifest.application.image or f"ghcr.io/open-webui/open-webui:{f'v{version}' if version else 'main'}"
    docker_key = pip_key = settings = ""
    if manifest.secret_key.found and (
        restored.only is None or KEY_NAME in restored.outside
    ):  # an empty one would keep it from starting
        docker_key = '    -e WEBUI_SECRET_KEY="$(cat outside/webui_secret_key)" \\\n'
        pip_key = '  export WEBUI_SECRET_KEY="$(cat outside/webui_secret_key)"\n'
    if ENVIRONMENT_NAME in restored.outside:
        settings = "\nThe settings it ran with are in outside/environment, one NAME=VALUE per line.\n"
    return f"""\
4. Starting it
--------------
Use the version above or a newer one, which changes the database on its first
start. NEVER start an older version on these data, not even to try.

With Docker:

  docker run -d --name open-webui -p 3000:8080 \\
    -v /absolute/path/to/data:/app/backend/data \\
{docker_key}    {image}

With pip (Python 3.11 or newer):

  pip install {package}
  export DATA_DIR=/absolute/path/to/data
{pip_key}  open-webui serve
{settings}{_ollama(manifest)}"""


def _ollama(manifest: Manifest) -> str:
    if not manifest.ollama:
        return ""
    stored = any(each.stored for each in manifest.ollama)
    pulled = [each.name for each in manifest.ollama if not each.stored]
    text = "\nOllama, which runs beside it, had these models:\n"
    if stored:
        text += (
            "  outside/ollama/models/ is a models folder: put it where OLLAMA_MODELS points\n"
            "  (by default .ollama/models).\n"
        )
    return text + "".join(f"  ollama pull {name}\n" for name in pulled)


def _scheduled(work: ScheduledWork | None, *, held: bool) -> str:
    if held:
        return f"""\
5. What was switched off (--quiet-start)
----------------------------------------
Automations, calendar alerts, webhooks and pending timers were switched off in
data/webui.db, so that nothing runs by itself at the first start. outside/{HELD_NAME}
holds what they were. To switch them on again, stop Open WebUI and run, here:

  python3 - <<'END'
  import json, sqlite3
  database = sqlite3.connect("data/webui.db")
  for each in json.load(open("outside/{HELD_NAME}"))["held"]:
      database.execute(each["statement"], each["values"])
  database.commit()
  END

Timers and automations whose time has passed meanwhile run right away then.
"""
    if work is None or not describe_scheduled(work):
        return ""
    return f"""\
5. What runs by itself
----------------------
{describe_scheduled(work)} are switched on. What is due runs within seconds of the first
start, webhooks are called at every start, and no setting in the environment
keeps them from it. To start without:

  sqlite3 data/webui.db "UPDATE config SET value = 'false' WHERE key IN ('automations.enable', 'calendar.enable');
    UPDATE config SET value = '[]' WHERE key = 'events.webhooks';
    UPDATE config SET value = '\\"\\"' WHERE key = 'webhook_url';
    UPDATE chat SET timer_at = NULL WHERE timer_at IS NOT NULL;"
"""  # noqa: S608 - shown to a person, who decides


_AFTER = """\
6. Is everything there?
-----------------------
Sign in, open a chat, download a file, ask a knowledge base a question.
manifest.json lists how many rows each table and how many vectors each
collection held.
"""
