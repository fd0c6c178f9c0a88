"""What `python -m owui_vault.rescue` does for processes, units and containers.

Idempotent, decides by the present state, holds no secret; status 0 once nothing is held by us any more. Quiescers write
these command lines (`rescue_command`), guardian and `recover` run them, and a person may type them again. With `--down`
the same command stops what it would resume.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from owui_vault.errors import QuiesceError, VaultError
from owui_vault.guardian.rescue_command import GONE, RemovedError
from owui_vault.model import Deadline, InstanceState, Quiesce
from owui_vault.system.clock import SystemClock
from owui_vault.system.procfs import ProcessIdentity

_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one rescue, the kind first; the error goes to stderr."""
    options = _parser().parse_args(arguments)
    clock = SystemClock()
    deadline = Deadline(clock.monotonic() + options.seconds, clock.monotonic)
    try:
        (options.stop if options.down else options.run)(options, deadline)
    except VaultError as error:
        sys.stderr.write(f"{error.message}. {error.hint}\n")
        return GONE if isinstance(error, RemovedError) else 1
    return 0


def _process(options: argparse.Namespace, deadline: Deadline) -> None:
    from owui_vault.quiesce.process import ProcessRescue  # noqa: PLC0415 - only what it needs: it is in a hurry

    ProcessRescue(
        boot=options.boot, root=options.root, members=frozenset(options.member), leave=frozenset(options.leave)
    ).run(deadline)


def _unit(options: argparse.Namespace, deadline: Deadline) -> None:
    from owui_vault.quiesce.systemd import UnitRescue  # noqa: PLC0415 - likewise

    UnitRescue(
        name=options.name,
        mode=options.mode,
        boot=options.boot,
        invocation=options.invocation,
        leave=frozenset(options.leave),
        companions=tuple(options.companions),
    ).run(deadline)


def _container(options: argparse.Namespace, deadline: Deadline) -> None:
    from owui_vault.quiesce.container.rescue import ContainerRescue, Target  # noqa: PLC0415 - likewise

    targets = tuple(Target.parse(each) for each in options.target)
    ContainerRescue(
        engine=options.engine,
        mode=options.mode,
        targets=targets,
        boot=options.boot,
        settled=options.settled,
        mark=options.engine_mark,
        again=options.again,
    ).run(deadline)


def _unit_down(options: argparse.Namespace, deadline: Deadline) -> None:
    from owui_vault.quiesce import systemctl  # noqa: PLC0415 - likewise

    systemctl.stop((*options.companions, options.name), deadline)


def _container_down(options: argparse.Namespace, deadline: Deadline) -> None:
    from owui_vault.containers.client import HttpEngine  # noqa: PLC0415 - likewise
    from owui_vault.quiesce.container.rescue import Target, look  # noqa: PLC0415 - likewise

    engine = HttpEngine(options.engine)
    for target in (Target.parse(each) for each in options.target):
        now = look(engine, target, deadline)
        if now is None or now.started != target.started or now.state is InstanceState.STOPPED:
            continue
        complaint = engine.ask(target.id, "stop")
        now = look(engine, target, deadline)
        if now is not None and now.state is not InstanceState.STOPPED:
            raise QuiesceError(f"container {now.name} did not stop: {complaint}")


def _process_down(options: argparse.Namespace, _deadline: Deadline) -> None:
    raise QuiesceError(f"process {options.root.pid} can be paused only")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m owui_vault.rescue", description=__doc__)
    kinds = parser.add_subparsers(required=True)
    process = kinds.add_parser("process")
    process.add_argument("--root", type=ProcessIdentity.parse, required=True)
    process.add_argument("--member", type=ProcessIdentity.parse, action="append", default=[])
    process.set_defaults(run=_process, stop=_process_down)
    unit = kinds.add_parser("unit")
    unit.add_argument("name")
    unit.add_argument("mode", type=Quiesce, choices=(Quiesce.PAUSE, Quiesce.STOP))
    unit.add_argument("--invocation", default="")
    unit.add_argument("--with", dest="companions", action="append", default=[])
    unit.set_defaults(run=_unit, stop=_unit_down)
    container = kinds.add_parser("container")
    container.add_argument("mode", type=Quiesce, choices=(Quiesce.PAUSE, Quiesce.STOP))
    container.add_argument("--engine", required=True)
    container.add_argument("--engine-mark", default="")
    container.add_argument("--again", default="", help="how a person makes it anew, should it be gone")
    container.add_argument("--target", action="append", default=[])
    container.add_argument("--settled", type=float, default=0.0)
    container.set_defaults(run=_container, stop=_container_down)
    for each in (process, unit, container):
        each.add_argument("--boot", default="")
        each.add_argument("--seconds", type=float, default=_SECONDS, help="how long to try")
        each.add_argument("--down", action="store_true", help="stop it instead")
    for each in (process, unit):
        each.add_argument("--leave", type=ProcessIdentity.parse, action="append", default=[])
    return parser


if __name__ == "__main__":  # a guardian of an earlier version calls it so; to do nothing would tell it that all is well
    sys.exit(main())
