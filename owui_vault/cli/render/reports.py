"""Reports in plain English, on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from owui_vault.cli.render import containers
from owui_vault.cli.render.phrases import count, duration, full_check, local, size, sqlite_versions
from owui_vault.cli.render.screen import Screen
from owui_vault.errors import VaultError
from owui_vault.model import (
    CollectionRecord,
    Component,
    InitializeReport,
    InstanceReport,
    Outcome,
    Proof,
    RecoverReport,
    RepositoryResult,
    RestoreReport,
    SecretKeyRecord,
    SnapshotReport,
    UnansweredRepository,
)

_PROOFS = {
    Proof.LIVE: "live: the instance was not touched",
    Proof.PAUSE: "pause: frozen for {freeze}",
    Proof.STOP: "stop: down for {outage}",
    Proof.IDLE: "idle: it was not running",
    Proof.UNPROVEN: "not proven",
}


def _running(report: InstanceReport) -> str:
    if report.running:
        return f"yes, process {', '.join(map(str, report.processes))}" if report.processes else "yes"
    return "no: no process has its databases open" if report.running_is_known else "unknown: see the warning below"


def instance(screen: Screen, report: InstanceReport, *, everything: bool = False) -> None:
    """What `inspect` found; `everything`: also what is of use to an engineer, and each vector collection."""
    screen.line(f"Open WebUI {report.application_version or '(version unknown)'} in {report.data_dir}", style="bold")
    screen.pairs([
        ("series", report.name),
        ("running", _running(report)),
        ("database", report.providers.database),
        ("vectors", report.providers.vectors),
        ("uploads", report.providers.storage),
        ("secret key", secret_key(report.secret_key)),
        ("stage", str(report.stage)),
        ("can be taken", ", ".join(report.modes)),
    ])  # fmt: skip
    if everything:
        screen.pairs([
            ("fingerprint", report.fingerprint or "none yet: there are no users"),
            ("schema", report.alembic_head),
            ("journal modes", ", ".join(f"{database}: {mode}" for database, mode in report.journal_modes)),
            ("SQLite", sqlite_versions(report.sqlite)),
            ("file system", report.filesystem),
        ])  # fmt: skip
    if report.container:
        containers.container(screen, report.container)
    screen.heading("What it holds")
    rows = [
        (part.name.value, f"{part.files:,}", size(part.size_bytes), "" if part.included else "left out")
        for part in report.components
        if part.files or part.size_bytes
    ]
    screen.table(("component", "files", "size", ""), rows, right=frozenset({"files", "size"}))
    if report.collections:
        collections(screen, report.collections, everything=everything)
    containers.ollama(screen, report.ollama)
    if report.left_out:
        screen.heading("Left out")
        screen.items(f"{each.path}: {each.reason} ({size(each.size_bytes)})" for each in report.left_out)
    if report.notes:
        screen.heading("Notes")
        screen.items(report.notes)
    warnings(screen, report.warnings)


def collections(screen: Screen, found: Sequence[CollectionRecord], *, everything: bool) -> None:
    """Vector collections: of knowledge bases by name, of single uploads as a sum; `everything`: each by itself."""
    if everything:
        lossy = any(each.lost for each in found)
        rows = [(each.knowledge or each.name, f"{each.vectors:,}", f"{each.lost:,}" if lossy else "") for each in found]
        screen.table(("collection", "vectors", "lost" if lossy else ""), rows, right=frozenset({"vectors", "lost"}))
        return
    vectors, lost = sum(each.vectors for each in found), sum(each.lost for each in found)
    missing = f", {count(lost, 'vector')} lost" if lost else ""
    screen.line(f"{count(len(found), 'vector collection')} with {count(vectors, 'vector')}{missing} (-v lists them)")
    named = [f"{each.knowledge} ({each.vectors:,})" for each in found if each.knowledge]
    if named:
        screen.line(f"knowledge bases: {', '.join(named)}")


def secret_key(record: SecretKeyRecord) -> str:
    """Where the key is, or what its absence means."""
    if record.found:
        wrong = f", but does NOT open {', '.join(record.unopened)}" if record.unopened else ""
        return f"{record.source}{wrong}"
    if record.needed_because:
        return f"NOT FOUND, and needed for {', '.join(record.needed_because)}"
    return "not found"


def initialized(screen: Screen, report: InitializeReport) -> None:
    """What `init` did, and what must be kept elsewhere."""
    for result in report.repositories:
        if result.error:
            failed(screen, f"{result.repository}: FAILED", result.error)
        else:
            done = "created" if result.created else "already exists"
            screen.line(f"{result.repository}: {done}", style="green")
    there = [(result, result.info) for result in report.repositories if result.info]
    if there:
        screen.heading("Keep this somewhere else: without it nothing can be restored.")
    for result, info in there:
        screen.line()
        screen.pairs([
            ("repository", result.repository),
            ("location", info.location),
            ("engine", f"{info.engine} {info.engine_version}"),
            ("id", info.id),
            ("passphrase", f"{result.passphrase_source} (write down what it is)"),
            *(("and", each) for each in result.credentials),
        ])  # fmt: skip
    if there:
        screen.line()
        screen.line("Print this, write the secrets on it by hand, and keep it away from the server.")
        screen.line("How to get everything back with it: docs/emergency.md")
    warnings(screen, report.warnings)


def failed(screen: Screen, what: str, error: VaultError, indent: int = 2) -> None:
    """What failed, and what to do; once, where the error is told below."""
    if error is screen.told_below:
        screen.line(f"{what}, see below", style="bold red")
        return
    screen.line(f"{what}: {error.message}", style="bold red")
    if error.hint:
        screen.line(f"{' ' * indent}hint: {error.hint}")


def taken(screen: Screen, report: SnapshotReport) -> None:
    """What `snapshot` did."""
    text, style = _headline(report)
    screen.line(text, style=style)
    if report.manifest is None:
        for result in report.repositories:
            _stored(screen, result)
        return
    proof = _PROOFS[report.proof.mode].format(
        freeze=duration(report.proof.freeze_seconds), outage=duration(report.proof.outage_seconds)
    )
    screen.pairs([
        ("instant", local(report.instant)),
        ("proof", f"{proof} ({count(report.proof.attempts, 'attempt')})"),
        ("full check", full_check(report.full_checks)),
        ("took", duration(report.took)),
    ])  # fmt: skip
    for result in report.repositories:
        _stored(screen, result)
    if report.problems:
        screen.heading("Why it is incomplete")
        screen.items(report.problems)
    warnings(screen, report.warnings)


def _headline(report: SnapshotReport) -> tuple[str, str]:
    if report.manifest is None:
        return f"no snapshot of {report.instance} was taken: no repository answered", "bold red"
    if report.outcome is Outcome.FAILED:
        return f"snapshot {report.id} of {report.instance} was NOT STORED: every repository failed", "bold red"
    what = "would be taken" if report.dry_run else "taken"
    style = "bold green" if report.outcome is Outcome.COMPLETE else "bold yellow"
    return f"snapshot {report.id} of {report.instance} {what}: {report.outcome.value.upper()}", style


def _stored(screen: Screen, result: RepositoryResult) -> None:
    if result.error and result.excused:
        screen.line(f"  {result.repository}: away, as it may be ({result.error.message})")
        return
    if result.error:
        failed(screen, f"  {result.repository}: FAILED", result.error, indent=4)
        return
    added = f"{size(result.added_bytes)} added, {size(result.read_bytes)} read, {duration(result.took)}"
    screen.line(f"  {result.repository}: stored, {added}")


def restored(screen: Screen, report: RestoreReport) -> None:
    """What `restore` did, and what to do next."""
    told = f"snapshot {report.snapshot.id} of {local(report.snapshot.instant)} restored into {report.target}"
    screen.line(told, style="bold green")
    whole = Component.DATABASE in report.components
    key = report.secret_key
    screen.pairs([
        ("checked", "against its manifest: nothing is missing or different"),
        ("components", ", ".join(each.value for each in report.components)),
        ("data directory", str(report.data_dir) if whole else ""),
        ("expected at", report.app_data_dir),
        ("paths changed", (count(report.rewritten, "row") if report.rewritten else "none") if whole else ""),
        ("secret key", f"{key}: give Open WebUI its content as WEBUI_SECRET_KEY before the first start" if key else ""),
        ("switched off", f"what runs by itself ({report.held} holds what it was)" if report.held else ""),
        ("took", duration(report.took)),
    ])  # fmt: skip
    warnings(screen, report.warnings)
    if whole and (report.target / "RESTORE.txt").exists():
        screen.line()
        screen.line(f"How to start it: {report.target / 'RESTORE.txt'}")


def recovered(screen: Screen, report: RecoverReport) -> None:
    """What `recover` did."""
    if not report.actions:
        screen.line("nothing to recover")
    screen.items(report.actions)


def sealed(screen: Screen, path: Path, names: tuple[str, ...]) -> None:
    """What `seal` did."""
    screen.line(f"{path} now holds {', '.join(names)}")
    screen.line("Its key opens all of them: keep a copy of it somewhere else.")


def unanswered(screen: Screen, silent: Sequence[UnansweredRepository]) -> None:
    """What is not in the answer, because a repository gave none."""
    for each in silent:
        if each.excused:
            screen.line(f"{each.repository} is away, as it may be: {each.error.message}")
        else:
            failed(screen, f"{each.repository} did not answer", each.error)


def warnings(screen: Screen, texts: tuple[str, ...]) -> None:
    """What was done, but needs attention."""
    if texts:
        screen.heading("Warnings")
        screen.items(texts, style="yellow")
