"""Which processes are the instance's own: one of them must share the locks of a database before a pin is trusted."""

from __future__ import annotations

from dataclasses import dataclass

from owui_vault.instance.processes import application_version
from owui_vault.instance.runtime import RuntimeEnvironment
from owui_vault.system import procfs

_WHETHER = "whether the process that shares the locks of a database is Open WebUI's own"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnProcesses:
    """Their process ids, and why they are not known where there are none."""

    pids: tuple[int, ...] = ()
    unchecked: tuple[str, ...] = ()


def own_processes(environment: RuntimeEnvironment) -> OwnProcesses:
    """Of a container, everything its first process has started; else those with the data open that run Open WebUI."""
    if environment.container:
        roots = [procfs.identify(pid) for pid in environment.container.processes]
        pids = {member.pid for root in roots if root for member in procfs.descendants(root)}
        why = (
            "the container's processes cannot be seen from here" if environment.container.running else "it does not run"
        )
    else:
        pids = {each.pid for each in environment.holders.found if application_version(each.pid)}
        why = "none of those that have the data open could be recognised"
    return OwnProcesses(pids=tuple(sorted(pids)), unchecked=() if pids else (f"{_WHETHER}: {why}",))
