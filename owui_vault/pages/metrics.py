"""The status as Prometheus's text. Pure; prometheus_client is imported when it is asked for.

What is not known has no sample, and no zero either: nobody shall take the one for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import Enum

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from owui_vault.model.runs import PlanStep, RunOutcome
from owui_vault.model.status import PlanState, RepositoryState, StatusReport, Verdict

_PREFIX = "owui_vault_"
_ENDS = tuple(each for each in RunOutcome if each is not RunOutcome.SKIPPED)


def metrics_text(report: StatusReport, series: str, version: str) -> str:
    """All of it, in the text format that node_exporter's textfile collector and Prometheus read."""
    registry = CollectorRegistry(auto_describe=False)
    for each in (*_general(report, series, version), *_points(report), *_plans(report), *_space(report)):
        if any(family.samples for family in each.collect()):
            registry.register(each)
    text: bytes = generate_latest(registry)
    return text.decode()


def _gauge(name: str, words: str, labels: Iterable[str]) -> Gauge:
    return Gauge(_PREFIX + name, words, list(labels), registry=None)


def _add(family: Gauge, labels: Iterable[str], value: float | datetime | None) -> None:
    if value is not None:
        family.labels(*labels).set(value.timestamp() if isinstance(value, datetime) else float(value))


def _add_choice(family: Gauge, labels: Iterable[str], choices: Iterable[Enum], chosen: Enum) -> None:
    """One sample for each of them, so that an alert is resolved and does not vanish."""
    for each in choices:
        family.labels(*labels, str(each.value)).set(float(each is chosen))


def _general(report: StatusReport, series: str, version: str) -> Iterator[Gauge]:
    info = _gauge("info", "The version of owui_vault that wrote this.", ["version"])
    _add(info, [version], 1.0)
    at = _gauge("status_timestamp_seconds", "When all of this was judged.", ["series"])
    _add(at, [series], report.at)
    verdict = _gauge("verdict", "What is to be thought of everything: 1 for what applies.", ["series", "verdict"])
    _add_choice(verdict, [series], Verdict, report.verdict)
    yield from (info, at, verdict)


def _states(report: StatusReport) -> Iterator[tuple[tuple[str, str, str], RepositoryState]]:
    """Each plan in each repository, with its labels; of a series without plans `plan` is empty."""
    for plan in report.plans:
        for state in plan.repositories:
            yield (state.series, plan.plan, state.repository), state
    for state in report.series:
        yield (state.series, "", state.repository), state


def _points(report: StatusReport) -> Iterator[Gauge]:
    by = ["series", "plan", "repository"]
    verdict = _gauge("repository_verdict", "The same of one plan in one repository.", [*by, "verdict"])
    overdue = _gauge("overdue", "Whether the newest restore point is older than it may be.", by)
    due = _gauge("due_timestamp_seconds", "When the next restore point is due.", by)
    late = _gauge("overdue_after_timestamp_seconds", "When it is overdue, if none comes until then.", by)
    known = _gauge("known_timestamp_seconds", "When this was known: now, if the repository was asked.", by)
    newest = _gauge("restore_point_timestamp_seconds", "The instant of the newest COMPLETE restore point.", by)
    size = _gauge("restore_point_size_bytes", "How much the newest COMPLETE restore point holds.", by)
    points = _gauge("restore_points", "How many COMPLETE restore points there are.", by)
    verified = _gauge("verified_timestamp_seconds", "When a restore point there was verified last, without fault.", by)
    read = _gauge("all_read_timestamp_seconds", "When every file of one was last read and found right.", by)
    for labels, state in _states(report):
        _add_choice(verdict, labels, Verdict, state.verdict)
        _add(overdue, labels, float(state.overdue))
        _add(due, labels, state.due)
        _add(late, labels, state.late_after)
        _add(known, labels, state.as_of)
        _add(newest, labels, state.newest.instant if state.newest else None)
        _add(size, labels, state.newest.size_bytes if state.newest else None)
        _add(points, labels, state.restore_points)
        _add(verified, labels, state.verified.verified_at if state.verified else None)
        proven = [each.all_read_at for each in (state.newest, state.verified) if each and each.all_read_at]
        _add(read, labels, max(proven, default=None))
    yield from (verdict, overdue, due, late, known, newest, size, points, verified, read)


def _plans(report: StatusReport) -> Iterator[Gauge]:
    by = ["series", "plan"]
    verdict = _gauge("plan_verdict", "What is to be thought of one plan.", [*by, "verdict"])
    due = _gauge("plan_due_timestamp_seconds", "When the plan is due next.", by)
    began = _gauge("run_timestamp_seconds", "When the plan's last run began.", by)
    took = _gauge("run_duration_seconds", "How long it took.", by)
    outcome = _gauge("run_outcome", "How it ended: 1 for what applies.", [*by, "outcome"])
    freeze = _gauge("run_freeze_seconds", "How long the instance could not write meanwhile.", by)
    for plan in report.plans:
        labels = (_series_of(plan), plan.plan)
        _add_choice(verdict, labels, Verdict, plan.verdict)
        _add(due, labels, plan.next_due)
        run = plan.last_run
        if run is None:
            continue
        _add(began, labels, run.began)
        _add(took, labels, run.took_seconds if run.ended else None)
        _add_choice(outcome, labels, _ENDS, run.outcome)
        taken = run.step(PlanStep.SNAPSHOT)
        _add(freeze, labels, taken.freeze_seconds if taken else None)
    yield from (verdict, due, began, took, outcome, freeze)


def _series_of(plan: PlanState) -> str:
    return plan.repositories[0].series if plan.repositories else ""


def _space(report: StatusReport) -> Iterator[Gauge]:
    by = ["repository"]
    size = _gauge("repository_size_bytes", "How much the repository takes where it lies.", by)
    free = _gauge("repository_free_bytes", "How much is free there.", by)
    growth = _gauge("repository_growth_bytes_per_day", "How much it grew a day in the last thirty days.", by)
    full = _gauge("repository_until_full_seconds", "How long until its place is full, if that goes on.", by)
    for each in report.space:
        _add(size, [each.repository], each.size_bytes)
        _add(free, [each.repository], each.free_bytes)
        _add(growth, [each.repository], each.growth_bytes_per_day)
        _add(full, [each.repository], each.until_full_seconds)
    yield from (size, free, growth, full)
