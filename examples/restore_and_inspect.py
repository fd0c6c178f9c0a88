"""Restore the newest snapshot beside the instance and look inside: who was here, and which chats did they have?

python restore_and_inspect.py /etc/owui-vault/vault.yaml
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from owui_vault import Component, open_vault


def chats_per_user(database: Path) -> list[tuple[str, int]]:
    """Names with the number of their chats; plain SQLite, since what comes back is a plain data directory."""
    query = (
        "SELECT user.name, count(chat.id) FROM user LEFT JOIN chat ON chat.user_id = user.id"
        " GROUP BY user.id ORDER BY user.name"
    )
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return list(connection.execute(query))


def main() -> int:
    with open_vault(Path(sys.argv[1])) as vault, tempfile.TemporaryDirectory() as folder:
        newest = vault.snapshots()[0]
        print(f"{newest.id} of {newest.instant:%F %T %Z}, {newest.outcome.value}")
        # One component is enough here; without `components` the whole data directory comes back, ready to run.
        restored = vault.restore(newest, target=Path(folder, "copy"), components=[Component.DATABASE])
        for name, chats in chats_per_user(restored.data_dir / "webui.db"):
            print(f"{name}: {chats} chats")
        print(f"Open WebUI {restored.manifest.application.version or 'of unknown version'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
