"""How often the processes of containers have run, where they are this machine's own."""

from __future__ import annotations

from collections.abc import Sequence

from owui_vault.containers.container_inspect import ContainerInspect
from owui_vault.system import procfs
from owui_vault.system.procfs import ProcessIdentity, ThreadMark

Marks = dict[ProcessIdentity, tuple[ThreadMark, ...]]


def marks_of(states: Sequence[ContainerInspect]) -> Marks:
    """How often each thread inside has run; nothing of containers whose processes cannot be seen from here."""
    found: Marks = {}
    for each in states:
        root = root_of(each)
        if root is not None:
            found |= {member: procfs.threads(member) for member in procfs.descendants(root)}
    return found


def root_of(state: ContainerInspect) -> ProcessIdentity | None:
    """Its first process; None where that is none of this machine's, or not to be seen from a container of our own."""
    root = procfs.identify(state.pid) if state.pid > 0 else None
    return root if root is not None and procfs.in_container(root.pid, state.id) else None
