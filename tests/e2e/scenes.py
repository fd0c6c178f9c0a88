"""What is tried with the real application, step by step; each step answers the rows it adds to the record."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from owui_vault import DataDirectory, Outcome, Quiesce, RestoreError, Vault, open_vault
from owui_vault.model.json_codec import to_json
from tests.e2e.finding import Findings
from tests.e2e.latency import Waits, waits
from tests.e2e.server import ServiceQuiescer
from tests.e2e.site import ProcessSite, Site, environment_of_engines

# The key of a container that was given none: it would be lost, and that is said.
RIGHT_WARNING = "only in the container's own layer"
BEFORE_SECONDS, AFTER_SECONDS = 15.0, 3.0
AROUND_SECONDS = 1.5  # a capture takes about that long


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One snapshot under load, and what the clients noticed."""

    what: str
    id: str
    moment: float
    outcome: str
    mode: str
    attempts: int
    freeze: float
    outage: float
    capture: float
    warnings: tuple[str, ...]
    weaker: tuple[str, ...]
    names: dict[str, str]  # per engine: what it calls the snapshot
    before: Waits
    around: Waits
    during: Waits


@dataclass(frozen=True, kw_only=True)
class Found:
    """One look at an instance that runs on something that came back."""

    what: str
    snapshot: str
    start_seconds: float
    findings: Findings
    note: str = ""


@dataclass
class Story:
    """Everything of one run, for the page."""

    taken: list[Taken] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)

    def problems(self) -> list[str]:
        wrong = [f"{row.what}: {problem}" for row in self.found for problem in row.findings.problems]
        wrong += [f"{row.what}: {row.outcome} {row.weaker}" for row in self.taken if row.outcome != "complete"]
        unfit = [(row.what, each) for row in self.taken for each in row.warnings if RIGHT_WARNING not in each]
        return wrong + [f"{what}: warned of {each}" for what, each in unfit]


def say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)  # noqa: DTZ005  for whoever looks on


def under_load(site: Site, what: str, profile: str, snap: Callable[[], dict[str, Any]]) -> Taken:
    """A snapshot in the middle of traffic."""
    with site.traffic(profile):
        time.sleep(BEFORE_SECONDS)
        begun = time.time()
        report = snap()
        ended = time.time()
        time.sleep(AFTER_SECONDS)
    proof = report["proof"]
    names = {}
    for result in report["repositories"]:
        assert result["error"] is None, (what, result["error"])
        snapshot = result["snapshot"]
        names[result["repository"]] = snapshot["engine_id" if result["repository"] == "restic" else "name"]
    moment = datetime.fromisoformat(report["instant"]).timestamp()
    aside = AROUND_SECONDS + proof["freeze_seconds"]
    taken = Taken(
        what=what,
        id=report["id"],
        moment=moment,
        outcome=report["outcome"],
        mode=proof["mode"],
        attempts=proof["attempts"],
        freeze=proof["freeze_seconds"],
        outage=proof["outage_seconds"],
        capture=proof["capture_seconds"],
        warnings=tuple(report["warnings"]),
        weaker=tuple(proof["weaker"]) + tuple(report["problems"]),
        names=names,
        before=waits(site.requests, begun - (BEFORE_SECONDS - 3), begun),
        around=waits(site.requests, moment - aside, moment + aside),
        during=waits(site.requests, begun, ended),
    )
    say(
        f"{what}: {taken.outcome}, {taken.mode}, {taken.attempts} attempts, freeze {taken.freeze * 1000:.0f} ms,"
        f" outage {taken.outage:.1f} s; reads waited {taken.before.worst_read:.2f} s at most before,"
        f" {taken.around.worst_read:.2f} s around the instant, {taken.during.worst_read:.2f} s during;"
        f" {taken.weaker} {taken.warnings}"
    )
    return taken


def by_program(site: Site, configuration: str, mode: str) -> Callable[[], dict[str, Any]]:
    return lambda: site.ours(configuration, "snapshot", "--quiesce", mode, allowed=(0, 3))


def stopping_vault(site: ProcessSite) -> Vault:
    """The configured vault, with a quiescer of this test's own that can stop and start the server."""
    configured = open_vault(site.configuration("live"))
    return Vault(
        configured.instance,
        configured.repositories,
        quiescer=ServiceQuiescer(site.server),
        state_dir=site.folder / "state",
    )


def by_library(site: ProcessSite) -> dict[str, Any]:
    """The same report from Python; stop mode needs somebody who can start the server again."""
    return as_json(stopping_vault(site).snapshot(quiesce=Quiesce.STOP))


def restored_elsewhere(site: Site, row: Taken, engine: str) -> Found:
    """By us, verified and into a directory of its own, with the key that came along."""
    target = site.folder / f"restored-{row.id}-{engine}"
    site.ours("live", "verify", row.id, "--from", engine)
    site.ours("live", "restore", row.id, "--target", str(target), "--from", engine)
    return started_on(site, row, target, f"{row.what}, restored from {engine}")


def restored_bare(site: Site, row: Taken, engine: str) -> Found:
    """By the engine alone, and the documented statement for the paths."""
    target = site.folder / f"bare-{row.id}-{engine}"
    target.mkdir()
    name = row.names[engine]
    argv = {
        "restic": ["restic", "-r", str(site.folder / "restic"), "restore", name, "--target", str(target)],
        "borg": ["borg", "extract", f"{site.folder / 'borg'}::{name}"],
    }[engine]
    subprocess.run(argv, cwd=target, env=environment_of_engines(site.folder), check=True, capture_output=True)
    site.move_paths(target / "data")
    return started_on(site, row, target, f"{row.what}, `{engine}` alone")


def started_on(site: Site, row: Taken, target: Path, what: str) -> Found:
    key = (target / "outside" / "webui_secret_key").read_text()
    began = time.monotonic()
    with site.copy(target / "data", key) as server:
        took = time.monotonic() - began
        return told(Found(what=what, snapshot=row.id, start_seconds=took, findings=site.look(server, row.moment)))


def told(found: Found) -> Found:
    say(f"{found.what}: up after {found.start_seconds:.0f} s: {found.findings} {found.note}")
    for problem in found.findings.problems[:20]:
        say(f"  PROBLEM {problem}")
    return found


def in_place(site: Site, row: Taken, end: float) -> list[Found]:
    """Back to a snapshot while the server runs, a look, and undone again, and another look."""
    done = replaced(site, row.id)
    took = float(done["outage_seconds"])
    first = found_live(site, row.moment, ("restored in place", row.id), took, f"{done['health']}; {done['warnings']}")
    back = undone(site)
    took = float(back["outage_seconds"])
    return [first, found_live(site, end, ("undone", row.id), took, str(back["health"]))]


def rolled_back(site: Site, end: float) -> Found:
    """A snapshot on which the application will not start: second factors that another key sealed."""
    identity = snapshot_of_another_key(site)
    began = time.monotonic()
    note = refused(site, identity)
    return found_live(site, end, ("rolled back by itself", identity), time.monotonic() - began, note)


def found_live(site: Site, moment: float, what: tuple[str, str], took: float, note: str) -> Found:
    findings = site.look(site.live, moment)
    return told(Found(what=what[0], snapshot=what[1], start_seconds=took, findings=findings, note=note))


def replaced(site: Site, identity: str) -> dict[str, Any]:
    """In place, by whoever can stop this server."""
    if not isinstance(site, ProcessSite):
        return site.ours("live", "restore", identity, "--in-place", "--yes")
    vault = stopping_vault(site)
    plan = vault.plan_replacement(identity)
    say(f"plan: {plan.parts} make room, {plan.stays} stay, stops {plan.stops}, warnings {plan.warnings}")
    return as_json(vault.replace(plan))


def undone(site: Site) -> dict[str, Any]:
    if not isinstance(site, ProcessSite):
        told = site.ours("live", "undo", "--yes")
        site.ours("live", "discard", "--yes")
        return told
    vault = stopping_vault(site)
    report = vault.undo()
    vault.discard()
    return as_json(report)


def refused(site: Site, identity: str) -> str:
    """What it says when it had to go back."""
    if not isinstance(site, ProcessSite):
        told = site.ours("live", "restore", identity, "--in-place", "--yes", allowed=(1,))
        return str(told["error"]["message"])
    vault = stopping_vault(site)
    plan = vault.plan_replacement(identity)
    try:
        vault.replace(plan)
    except RestoreError as error:
        return error.message
    raise AssertionError("it started on second factors that it cannot open")


def as_json(report: object) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.dumps(to_json(report)))
    return told


def snapshot_of_another_key(site: Site) -> str:
    """The same instance as if it had been enrolled in MFA under a key that is not this server's."""
    source = site.folder / "other-key"
    site.ours("live", "restore", "latest", "--target", str(source), "--from", "restic")
    with closing(sqlite3.connect(source / "data" / "webui.db")) as connection, connection:
        sealed = json.dumps({"secret": "gAAAAABo" + "A" * 92})
        connection.execute("UPDATE auth SET mfa = ? WHERE email = ?", (sealed, site.people[1].email))
        connection.execute("UPDATE config SET value = 'true' WHERE key = 'auth.mfa.enable'")
    configured = open_vault(site.configuration("live"))
    vault = Vault(
        DataDirectory(source / "data"),
        configured.repositories[:1],
        state_dir=site.folder / "state-of-other",
    )
    report = vault.snapshot()
    assert report.outcome in (Outcome.COMPLETE, Outcome.INCOMPLETE)
    return report.id
