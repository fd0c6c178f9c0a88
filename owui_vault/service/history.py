"""What ran: the run ledger, newest first."""

from __future__ import annotations

from owui_vault.errors import ConfigError
from owui_vault.model.runs import RunList
from owui_vault.service.parts import Service


def history(service: Service, last: int | None, plan: str | None) -> RunList:
    """The runs of a plan, or of all, newest first. Raises ConfigError for a plan that nobody ever heard of."""
    if last is not None and last < 1:
        raise ConfigError(f"{last} runs cannot be listed", hint="Give a number from 1.")
    known = service.ledger.read_all()
    runs = known.runs if plan is None else known.of(plan)
    if plan is not None and not runs and plan not in [each.name for each in service.plans]:
        names = sorted({each.name for each in service.plans} | {each.plan for each in known.runs})
        raise ConfigError(f"there is no plan named {plan!r}", hint=f"Known: {', '.join(names) or 'none'}.")
    warnings = (f"{known.damaged} lines of the run ledger cannot be read",) if known.damaged else ()
    newest_first = sorted(runs, key=lambda each: each.began, reverse=True)
    return RunList(newest_first[:last], warnings)
