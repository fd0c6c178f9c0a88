"""Who is told, as `vault.yaml` says it: notifications and heartbeats. Needs pydantic."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from owui_vault.config import values
from owui_vault.config.secret_part import (
    OTHER_FORM,
    SHORT_FORM,
    SOURCES,
    Part,
    SecretPart,
    Value,
    form,
    reference_of,
)
from owui_vault.config.settings import HeartbeatSettings, NotificationSettings
from owui_vault.model import NAME_PATTERN, EventKind
from owui_vault.model.events import REMIND, USUAL_KINDS

Kind = Literal["failure", "incomplete", "overdue", "warning", "recovery", "success", "summary"]
PlanName = Annotated[str, BeforeValidator(values.name), form(NAME_PATTERN)]
Remind = Annotated[timedelta, BeforeValidator(values.positive_duration), form(values.DURATION_PATTERN, examples=["3d"])]


def _is_address(part: SecretPart, pattern: tuple[str, ...], what: str) -> SecretPart:
    given = part.given.reveal() if part.given else None
    if given is not None and not (given.startswith(pattern) if pattern else "://" in given):
        raise ValueError(what)
    return part


class NotificationPart(Part):
    """Somebody who is told."""

    url: Value
    """An address of Apprise's: mailtos://…, json://…, ntfy://…, slack://…; or where that is kept."""
    when: tuple[Kind, ...] = tuple(each.value for each in USUAL_KINDS)
    """What is told: failure, incomplete, overdue, warning, recovery, success, summary (once a week)."""
    remind: Remind | None = None
    """After so long it is said again that something is still so (3d)."""
    plans: tuple[PlanName, ...] = ()
    """About which plans; otherwise about all."""

    @field_validator("url")
    @classmethod
    def _has_scheme(cls, part: SecretPart) -> SecretPart:
        return _is_address(part, (), "must be an address such as mailtos://…, json://… or ntfy://…")

    @field_validator("when")
    @classmethod
    def _something(cls, when: tuple[str, ...]) -> tuple[str, ...]:
        if not when:
            raise ValueError("names nothing to tell; give at least one of failure, incomplete, overdue, …")
        return when

    def settings(self) -> NotificationSettings:
        """The same, every default filled in."""
        return NotificationSettings(
            url=reference_of(self.url),
            when=tuple(dict.fromkeys(EventKind(each) for each in self.when)),
            remind=self.remind or REMIND,
            plans=self.plans,
        )


class HeartbeatPart(Part):
    """A URL that expects signs of life; a URL, or where one is kept, stands in place of the mapping."""

    url: Value
    """URL/start, URL and URL/fail are called, or a push URL of Uptime Kuma; or where that is kept."""
    log: bool = False
    """Whether what the run did is sent along."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, part: SecretPart) -> SecretPart:
        return _is_address(part, ("https://", "http://"), "must be an https:// or http:// URL")

    def settings(self) -> HeartbeatSettings:
        """The same."""
        return HeartbeatSettings(url=reference_of(self.url), log=self.log)


def _or_address(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    if isinstance(value, str) or (isinstance(value, dict) and "url" not in value and set(value) & set(SOURCES)):
        return handler({"url": value})
    return handler(value)


HeartbeatField = Annotated[
    HeartbeatPart,
    WrapValidator(_or_address),
    Field(json_schema_extra={SHORT_FORM: "string", OTHER_FORM: "#/$defs/SecretPart"}),
]


def readable_notifications(value: object, around: values.ConfigContext) -> tuple[NotificationSettings, ...]:
    """Those of a list that have no mistake in them."""
    found = []
    for each in value if isinstance(value, list) else ():
        try:
            found.append(NotificationPart.model_validate(each, context=around).settings())
        except ValidationError:
            continue
    return tuple(found)


def readable_heartbeat(value: object, around: values.ConfigContext) -> HeartbeatSettings | None:
    """The heartbeat, if there is one without a mistake in it."""
    if value is None:
        return None
    field: TypeAdapter[HeartbeatPart] = TypeAdapter(HeartbeatField)
    try:
        return field.validate_python(value, context=around).settings()
    except ValidationError:
        return None
