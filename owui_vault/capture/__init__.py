"""The instant, the stage, and copies of SQLite databases and files."""

from owui_vault.capture.child.stage_listing import verify_stage as verify_stage
from owui_vault.capture.instant import Examine as Examine
from owui_vault.capture.instant import take_instant as take_instant
from owui_vault.capture.stage import clear_stage as clear_stage
