"""Looking at the instance without touching it."""

from __future__ import annotations

from dataclasses import replace

from owui_vault.context.context import OperationContext
from owui_vault.instance.data_dir import directory_at, probe_instance
from owui_vault.model import InstanceReport, OllamaModels, Quiesce
from owui_vault.operations.instance_report import InspectRequest, inspect_instance
from owui_vault.operations.recovery.recover import work_folder
from owui_vault.repositories.overlap import among_the_data
from owui_vault.secrets.application_key import try_key


def inspect(context: OperationContext) -> InstanceReport:
    """What the instance holds, where its stage will lie, and what a snapshot would not cover."""
    instance = context.the_instance()
    data_dir = directory_at(instance.path)
    modes = {Quiesce.AUTO, Quiesce.LIVE, *(context.quiescer.modes if context.quiescer else ())}
    report = inspect_instance(
        InspectRequest(
            name=instance.name,
            path=data_dir,
            work_dir=work_folder(context, data_dir),
            modes=tuple(mode.value for mode in Quiesce if mode in modes),
            include=instance.include,
            exclude=instance.exclude,
            secret_key=instance.secret_key,
            database_url=instance.database_url.reveal() if instance.database_url else "",
            container=context.container,
            launch=context.launch(),
            try_key=try_key,
            ollama_dir=instance.ollama_dir if instance.ollama is not OllamaModels.OFF else None,
        )
    )
    among = (f"{found}: a snapshot is refused" for found in among_the_data(context, context.repositories))
    return replace(report, warnings=(*report.warnings, *among))


def current_fingerprint(context: OperationContext) -> str | None:
    """Which instance lies in the data directory now; empty when nobody has signed up, None when it cannot be told."""
    facts = probe_instance(context.the_instance().path).facts
    return facts.fingerprint if facts else None
