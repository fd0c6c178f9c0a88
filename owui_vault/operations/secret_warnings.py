"""Warnings about where secrets are kept. They are added to every report, because a user may read only one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, replace
from typing import Any, ClassVar, Protocol, TypeVar

from owui_vault.context.context import OperationContext
from owui_vault.ports import DescribedSecret


class _Report(Protocol):
    """Any frozen dataclass with warnings."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was done, but needs attention."""


Report = TypeVar("Report", bound=_Report)


def with_secret_warnings(context: OperationContext, report: Report) -> Report:
    """The report, with a warning for each place of a secret that others can look into."""
    return replace(report, warnings=_added(report.warnings, context))


def _added(told: tuple[str, ...], context: OperationContext) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*told, *(text for secret in _secrets(context) for text in secret.warnings()))))


def _secrets(context: OperationContext) -> Iterator[DescribedSecret]:
    for repository in context.repositories:
        yield from (each for each in (repository.passphrase, *repository.secrets) if each)
    if context.instance:
        for source in (context.instance.secret_key, context.instance.database_url):
            if isinstance(source, DescribedSecret):
                yield source
