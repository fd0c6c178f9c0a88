"""`--version`: this package, and the engines' programs that it would find."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from owui_vault.cli.render.screen import Screen
from owui_vault.cli.request import Answer, Request, Session
from owui_vault.engines.borg.errors import ENGINE as BORG
from owui_vault.engines.borg.program import find_program
from owui_vault.errors import VaultError
from owui_vault.system.process import Command, run
from owui_vault.version import VERSION

_QUESTIONS = {"restic": "version", BORG: "--version"}
_SECONDS = 10.0
_OLD_SEAL = re.compile(
    r"1\.([01]\.|2\.[0-4]\b)"
)  # borg up to 1.2.4 keeps the seal of what it relabels (borg issue 7791)
_NUMBER = re.compile(r"\d+(?:\.\d+)+\S*")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProgram:
    """An engine's program in PATH. Empty where there is none; `version` also where it does not say."""

    engine: str
    program: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What a report of a fault begins with."""

    version: str
    engines: tuple[EngineProgram, ...]
    python: str


class ShowVersions(Request):
    """`--version`."""

    def perform(self, session: Session) -> Answer:
        """Ask each engine that is installed."""
        found = Versions(
            version=VERSION,
            engines=tuple(_asked(engine, question, session.environ) for engine, question in _QUESTIONS.items()),
            python=platform.python_version(),
        )
        return Answer(value=found, show=lambda screen: _show(screen, found), asked_for=True)


def _asked(engine: str, question: str, environ: Mapping[str, str]) -> EngineProgram:
    path = environ.get("PATH", "")
    argv = find_program(engine) if engine == BORG else (engine,)  # of borg that of our own Python, where it has one
    program = " ".join(argv) if len(argv) > 1 else shutil.which(engine, path=path) or ""
    version = ""
    if program:
        environment = {"PATH": path, "HOME": environ.get("HOME", "/"), "LC_ALL": "C.UTF-8"}
        try:
            said = run(Command(argv=(*argv, question), environment=environment, timeout_seconds=_SECONDS)).stdout
        except VaultError:
            said = ""  # it is there, and does not answer
        number = _NUMBER.search(said)
        version = number[0] if number else ""
    return EngineProgram(engine=engine, program=program, version=version)


def _show(screen: Screen, found: Versions) -> None:
    screen.line(f"owui_vault {found.version}")
    for each in found.engines:
        where = f" ({each.program})" if each.program else ""
        screen.line(f"{each.engine} {each.version or ('of unknown version' if where else 'is not installed')}{where}")
        if each.engine == BORG and _OLD_SEAL.match(each.version):
            screen.line(
                "  what it pins or unpins, borg 1.2.5 and later refuse until it is sealed anew: docs/install.md"
            )
    screen.line(f"Python {found.python}")
