"""An instance that runs in a container, looked up at the start of each operation.

After that an operation works with what it always works with: a data directory on this machine, a quiescer, an
application. Only the engine's description of the container is added.
"""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from owui_vault.components.names import DATABASE
from owui_vault.context.context import Container, DataDirectory, InstanceOptions, OperationContext

if TYPE_CHECKING:
    from owui_vault.instance.container.container import FoundContainer

# Whoever has no container is spared what finds one: a quarter of a second, at every start.
# ruff: noqa: PLC0415


def with_container(context: OperationContext) -> OperationContext:
    """The same parts with the container resolved; as they are where none is configured.

    Raises InstanceError, and SecretError when there is no database and a configured URL of it cannot be obtained.
    """
    wanted = context.instance
    if not isinstance(wanted, Container):
        return context
    from owui_vault.containers.reader import engine_addresses
    from owui_vault.instance.container.application import ContainerApplication
    from owui_vault.instance.container.container import find_container
    from owui_vault.instance.runtime import require_database_here
    from owui_vault.quiesce.container.quiescer import ContainerQuiescer

    addresses = (wanted.engine,) if wanted.engine else engine_addresses(context.environ)
    found = find_container(wanted.container, addresses)
    if not os.path.lexists(found.data_dir / DATABASE):
        require_database_here(found, wanted.database_url.reveal() if wanted.database_url else "")
    return replace(
        context,
        instance=_directory(wanted, found),
        container=found,
        quiescer=context.quiescer
        or ContainerQuiescer(
            *found.held,
            engine=found.record.engine,
            stop_seconds=context.limits.capture.stop_seconds,
            names=(found.record.name, *found.record.together),
        ),
        application=context.application or ContainerApplication(found.record, context.clock),
    )


def _directory(wanted: Container, found: FoundContainer) -> DataDirectory:
    options = {each.name: getattr(wanted, each.name) for each in fields(InstanceOptions)}
    options["ollama_dir"] = wanted.ollama_dir or next(iter(found.ollama), None)
    return DataDirectory(found.data_dir, **options)
