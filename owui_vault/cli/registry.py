"""The commands, as `--help` lists them: the one line that a new command needs here.

Everything else about a command is in `commands/NAME.py`: the function `command` is its grammar, and returns its
request (`cli/request.py`).
"""

from __future__ import annotations

from typing import NamedTuple

EVERY_DAY = "every day"
RESTORE = "restore"
UPKEEP = "upkeep"
UNATTENDED = "unattended"
PROOF = "proof"
GROUPS = (EVERY_DAY, RESTORE, UPKEEP, UNATTENDED, PROOF)


class Entry(NamedTuple):
    """One command: its name, its part of `--help`, and what it does.

    What `changes` the instance, or takes something away, is never a guess at what was mistyped.
    """

    name: str
    group: str
    summary: str
    changes: bool = False

    @property
    def module(self) -> str:
        """The module with its grammar and its work, imported when the command is named."""
        return f"owui_vault.cli.commands.{self.name}"


COMMANDS = (
    Entry("inspect", EVERY_DAY, "Report what the instance holds and what would be lost."),
    Entry("init", EVERY_DAY, "Create the repositories that do not exist."),
    Entry("snapshot", EVERY_DAY, "Take one instant and store it in each repository."),
    Entry("snapshots", EVERY_DAY, "List the snapshots, newest first."),
    Entry("show", EVERY_DAY, "Show what a snapshot holds."),
    Entry("ls", EVERY_DAY, "List the paths that a snapshot holds."),
    Entry("dump", EVERY_DAY, "Write one file of a snapshot to stdout, or a directory as a tar."),
    Entry("hold", EVERY_DAY, "Keep the instance quiet while a command runs.", changes=True),
    Entry("restore", RESTORE, "Write a snapshot into a new directory, or in place.", changes=True),
    Entry("undo", RESTORE, "Restore the previous data after an in-place restore.", changes=True),
    Entry("discard", RESTORE, "Delete the previous data kept by an in-place restore.", changes=True),
    Entry("recover", RESTORE, "Finish or roll back what a killed run left behind.", changes=True),
    Entry("prune", UPKEEP, "Remove what `keep` does not keep.", changes=True),
    Entry("pin", UPKEEP, "Let no retention remove a snapshot."),
    Entry("unpin", UPKEEP, "Let retention decide about a snapshot again.", changes=True),
    Entry("replicate", UPKEEP, "Bring to other repositories what one holds."),
    Entry("verify", UPKEEP, "Check the repository and what can be restored from it."),
    Entry("seal", UPKEEP, "Put secrets into a sealed file."),
    Entry("config", UPKEEP, "Write, check or show the configuration."),
    Entry("completion", UPKEEP, "Print a script that completes commands in a shell."),
    Entry("run", UNATTENDED, "Do what is due now, or the named plans.", changes=True),
    Entry("schedule", UNATTENDED, "Have `run` called by cron or systemd, show or remove that.", changes=True),
    Entry("daemon", UNATTENDED, "Do what is due, in the foreground, until asked to end.", changes=True),
    Entry("status", UNATTENDED, "Tell whether every plan is as new as it should be."),
    Entry("report", UNATTENDED, "Write a page to look at: what was stored and proven, and when."),
    Entry("history", UNATTENDED, "List what ran, newest first."),
)
