"""The instant, the stage, and copies of SQLite databases and files."""

from owui_vault.capture.child.stage_listing import verify_stage
from owui_vault.capture.instant import Examine, take_instant
from owui_vault.capture.stage import clear_stage

__all__ = ["Examine", "clear_stage", "take_instant", "verify_stage"]
