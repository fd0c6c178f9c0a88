"""Facts of a captured tree: what the manifest says about the application."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from owui_vault.components.database.facts import DatabaseFacts, read_facts
from owui_vault.components.database.scheduled import read_scheduled
from owui_vault.components.names import VECTOR_DATABASE
from owui_vault.components.sqlite_files import open_at_rest
from owui_vault.components.vectors.chroma import migration_level
from owui_vault.model import ScheduledWork


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFacts:
    """What the databases of a tree at rest say. Empty where one is damaged: `examine` reports that."""

    database: DatabaseFacts
    chroma_migration: str = ""
    scheduled: ScheduledWork | None = None


def read_stage(data_dir: Path) -> StageFacts:
    """Read a captured or restored data directory, never a live one."""
    try:
        facts = read_facts(data_dir)
    except sqlite3.DatabaseError:
        facts = DatabaseFacts()
    return StageFacts(
        database=facts,
        chroma_migration=_migration(data_dir / VECTOR_DATABASE),
        scheduled=read_scheduled(data_dir),
    )


def _migration(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        with open_at_rest(path) as connection:
            return migration_level(connection)
    except sqlite3.DatabaseError:
        return ""
