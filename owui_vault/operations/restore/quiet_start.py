"""What a restored instance runs by itself: what both kinds of restore say about it, and `--quiet-start`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from owui_vault.components.database.scheduled import describe_scheduled, hold_back, read_scheduled
from owui_vault.components.names import DATABASE
from owui_vault.errors import ConfigError
from owui_vault.model import Component, Manifest, ScheduledWork
from owui_vault.system.durable_files import write_durably

_OFF = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """What is due in a restored copy, and where the old values lie if it was switched off."""

    due: ScheduledWork = field(default_factory=ScheduledWork)
    held: Path | None = None
    warnings: tuple[str, ...] = ()


def is_ruined(manifest: Manifest) -> bool:
    """Whether nothing can be read in the database, or changed: it is damaged, or encrypted."""
    return any(record.path == DATABASE and record.check != "ok" for record in manifest.databases)


def check_can_be_quiet(manifest: Manifest, components: Collection[Component]) -> None:
    """Raise ConfigError where `--quiet-start` has nothing to change, before anything is fetched."""
    if Component.DATABASE not in components:
        raise ConfigError(
            "--quiet-start changes rows of the database, which is not among the components",
            hint="Leave it out, or restore `database` as well.",
        )
    if is_ruined(manifest):
        raise ConfigError(
            f"{DATABASE} of snapshot {manifest.id} is damaged: nothing can be switched off in it",
            hint="Choose another snapshot, or leave out --quiet-start and do not start Open WebUI on it.",
        )


def settle_schedule(  # noqa: PLR0913  # keyword-only but for what it is about
    data: Path,
    manifest: Manifest,
    components: Collection[Component],
    *,
    now: datetime,
    held: Callable[[], Path] | None,
    environment: Callable[[], Mapping[str, str]],
) -> Scheduled:
    """Count what is due by `now` in a restored `data/`; with `held`, switch it off and write the old values there.

    Nothing is, where the database was not asked for, or cannot be read. Nobody has opened it yet. Raises RestoreError.
    """
    if Component.DATABASE not in components or is_ruined(manifest):
        return Scheduled()
    due = read_scheduled(data, until=now)
    if due is None:
        return Scheduled()
    if held is None:
        return Scheduled(due=due, warnings=tuple(_what_fires(due)))
    place = held()
    hold_back(data, manifest.id, lambda document: write_durably(place, document))
    return Scheduled(due=due, held=place, warnings=tuple(_what_stays_on(due, environment())))


def will_fire(manifest: Manifest, components: Collection[Component], *, quiet: bool) -> Iterator[str]:
    """The warning of a plan: what is due is not known before the database is here."""
    work = manifest.scheduled
    if quiet or Component.DATABASE not in components or work is None or not describe_scheduled(work):
        return
    yield (
        f"{describe_scheduled(work)} are switched on in the snapshot: what is due by then runs within seconds of the"
        " start, and webhooks are called; --quiet-start switches them off in the restored data"
    )


def _what_fires(due: ScheduledWork) -> Iterator[str]:
    if describe_scheduled(due):
        yield (
            f"Open WebUI will run these within seconds of its first start on these data: {describe_scheduled(due)};"
            " --quiet-start switches them off in the restored data"
        )


def _what_stays_on(due: ScheduledWork, environment: Mapping[str, str]) -> Iterator[str]:
    if due.event_functions:
        yield (
            f"{describe_scheduled(ScheduledWork(event_functions=due.event_functions))} will run at the first start all"
            " the same; start with SAFE_MODE=true to keep all functions off"
        )
    if environment.get("ENABLE_PERSISTENT_CONFIG", "").strip().lower() in _OFF:
        yield (
            "the instance's environment has ENABLE_PERSISTENT_CONFIG=false, so that its settings come from there:"
            " set ENABLE_AUTOMATIONS=false, ENABLE_CALENDAR=false and an empty WEBHOOK_URL as well"
        )
