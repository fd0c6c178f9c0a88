"""What `verify` checked, and the result of SQLite's full check: nothing is called sound that was not read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from owui_vault.cli.render.phrases import count, duration, full_check, local, size
from owui_vault.cli.render.reports import warnings
from owui_vault.cli.render.screen import Screen
from owui_vault.model import Component, FullCheck, VerifiedPart, VerifyDepth, VerifyReport

_ONE = {Component.UPLOADS: "upload", Component.GENERATED_IMAGES: "generated image"}


def verified(screen: Screen, report: VerifyReport) -> None:
    """What `verify` found, and what it checked."""
    snapshot = report.snapshot
    what = f"repository {report.repository}"
    if snapshot:
        what = f"snapshot {snapshot.id} of {local(snapshot.instant)} in {report.repository}"
    if report.ok:
        compared = _compared(report.parts)
        screen.line(f"{what}: structure sound{f'; {compared}' if compared else ''}", style="bold green")
    else:
        screen.line(f"{what}: {count(len(report.problems), 'problem')}", style="bold red")
        screen.items(report.problems)
    for line in (*_depths(report), *_checks(report.full_checks)):
        screen.line(f"  {line}")
    screen.line(f"  {duration(report.took)}")
    warnings(screen, report.warnings)


def _compared(parts: Sequence[VerifiedPart]) -> str:
    hashed = [each for each in parts if each.depth is VerifyDepth.CONTENT]
    return f"{_kinds(hashed)} identical to what was stored" if hashed else ""


def _depths(report: VerifyReport) -> Iterator[str]:
    """Each way of looking with its files and bytes."""
    if not report.ok:
        hashed = [each for each in report.parts if each.depth is VerifyDepth.CONTENT]
        if hashed:
            yield f"identical to what was stored: {_kinds(hashed)}"
    read = [each for each in report.parts if each.depth is VerifyDepth.READ]
    if read:
        yield f"read: {_amount(read)}"
    listed = [each for each in report.parts if each.depth is VerifyDepth.LISTED]
    if listed:
        yield f"not read: {_amount(listed)}; `verify --read-data` reads them as well"
    if report.read_data >= 1:
        yield "the engine read all of the repository's data"
    elif report.read_data > 0:
        yield f"the engine read {report.read_data:.0%} of the repository's data as well"


def _kinds(parts: Sequence[VerifiedPart]) -> str:
    """`2 databases and 49 index files`."""
    databases = sum(each.databases for each in parts)
    files = sum(each.files for each in parts) - databases
    known = [count(databases, "database")] if databases else []
    return " and ".join([*known, *([count(files, "index file")] if files else [])])


def _amount(parts: Collection[VerifiedPart]) -> str:
    """`8 uploads, 3 other files (424 kB)`."""
    named = [count(each.files, _ONE[each.component]) for each in parts if each.component in _ONE]
    others = sum(each.files for each in parts if each.component not in _ONE)
    if others:
        named.append(count(others, "other file" if named else "file"))
    return f"{', '.join(named)} ({size(sum(each.size_bytes for each in parts))})"


def _checks(checks: Sequence[FullCheck]) -> Iterator[str]:
    if checks:
        yield f"SQLite's full check: {full_check(checks)}"
