"""Metrics: what Prometheus reads back is the status, no more and no less, and the alerts fit it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from owui_vault import Pages, Vault
from owui_vault.errors import ConfigError, ResumeError
from owui_vault.model import CronSchedule, Plan, RepositoryState, StatusReport, Verdict
from owui_vault.pages.metrics import metrics_text
from owui_vault.service import publishing
from owui_vault.service.run_entries import PlaceMeasured
from prometheus_client.parser import text_string_to_metric_families
from tests.pages import ROOT
from tests.service.world import World

NIGHTLY = Plan(name="nightly", schedule=CronSchedule(expression="0 3 * * *"), verify=True)
RULES = ROOT / "examples" / "prometheus-rules.yml"
HERE = (("plan", "nightly"), ("repository", "nas"), ("series", "open-webui"))
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def at(day: int, time: str = "08:00") -> datetime:
    return datetime.fromisoformat(f"2026-06-{day:02d}T{time}").replace(tzinfo=UTC)


def samples(text: str) -> Samples:
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def a_month(tmp_path: Path) -> World:
    world = World(tmp_path, NIGHTLY)
    world.nights(3)
    before = PlaceMeasured(repository="nas", at=at(1), size_bytes=1, free_bytes=10**15)
    world.service().ledger.append(before)
    return world


def test_prometheus_reads_back_what_the_status_says(tmp_path: Path) -> None:
    world = a_month(tmp_path)
    found = samples(world.vault.metrics().text)
    (plan,) = world.vault.status().plans
    (state,) = plan.repositories
    assert state.newest
    assert state.late_after
    assert found["owui_vault_restore_point_timestamp_seconds", HERE] == at(3, "03:00").timestamp()
    assert found["owui_vault_restore_points", HERE] == 3
    assert found["owui_vault_overdue", HERE] == 0
    assert found["owui_vault_overdue_after_timestamp_seconds", HERE] == state.late_after.timestamp()
    assert found["owui_vault_status_timestamp_seconds", (("series", "open-webui"),)] == at(3).timestamp()
    of_plan = (("plan", "nightly"), ("series", "open-webui"))
    assert found["owui_vault_run_duration_seconds", of_plan] == world.takes.total_seconds()
    assert found["owui_vault_run_freeze_seconds", of_plan] == 0
    assert found["owui_vault_repository_size_bytes", (("repository", "nas"),)] > 0
    assert found["owui_vault_repository_until_full_seconds", (("repository", "nas"),)] > 0
    chosen = {dict(labels)["verdict"]: value for (name, labels), value in found.items() if name == "owui_vault_verdict"}
    assert chosen == {"fine": 1, "overdue": 0, "wrong": 0, "unknown": 0}


def test_overdue_is_the_same_as_everywhere(tmp_path: Path) -> None:
    world = a_month(tmp_path)
    for moment in (at(4, "09:00"), at(4, "09:01")):
        world.clock.set(moment)
        found = samples(world.vault.metrics(offline=True).text)
        overdue = world.vault.status(offline=True).verdict is Verdict.OVERDUE
        assert found["owui_vault_overdue", HERE] == overdue
        assert (moment.timestamp() > found["owui_vault_overdue_after_timestamp_seconds", HERE]) == overdue
    assert overdue


def test_what_is_not_known_has_no_sample(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    found = samples(world.vault.metrics(offline=True).text)
    assert found["owui_vault_repository_verdict", tuple(sorted((*HERE, ("verdict", "unknown"))))] == 1
    assert not [name for name, _ in found if "size" in name or "restore_point" in name or "until_full" in name]


def test_names_and_units_are_conventional(tmp_path: Path) -> None:
    text = a_month(tmp_path).vault.metrics().text
    families = list(text_string_to_metric_families(text))
    assert len(families) > 15
    for each in families:
        assert re.fullmatch(r"owui_vault(_[a-z]+)+", each.name)
        assert each.documentation
        assert {"instance", "job"}.isdisjoint(label for sample in each.samples for label in sample.labels)
        if any(word in each.name for word in ("timestamp", "duration", "until", "freeze")):
            assert each.name.endswith("_seconds")
        assert all(sample.value < 1e12 for sample in each.samples if each.name.endswith("_timestamp_seconds"))


def test_hostile_names_stay_within_their_labels(tmp_path: Path) -> None:
    """A plan's and a repository's names are plain; a series of somebody else's in the repository may be anything."""
    nasty = 'a"} 1\nowui_vault_fake 1\n# \\ \u202e'
    state = RepositoryState(repository=nasty, series=nasty, verdict=Verdict.FINE)
    report = StatusReport(at=at(1), verdict=Verdict.FINE, offline=False, series=(state,))
    found = samples(metrics_text(report, nasty, "1"))
    assert not [name for name, _ in found if "fake" in name]
    assert {dict(labels)["series"] for _, labels in found if "series" in dict(labels)} == {nasty}


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def test_each_alert_is_about_metrics_that_there_are(tmp_path: Path) -> None:
    world = a_month(tmp_path)
    found = samples(world.vault.metrics().text)
    exported: dict[str, set[str]] = {}
    for name, labels in found:
        exported.setdefault(name, set()).update(label for label, _ in labels)
    alerts = list(rules())
    assert len(alerts) >= 5
    for alert in alerts:
        names = set(re.findall(r"\bowui_vault_\w+", alert["expr"]))
        assert names <= set(exported) | {"owui_vault_verified_timestamp_seconds"}, alert["alert"]
        there = set.union(*(exported.get(name, {"series", "plan", "repository"}) for name in names))
        used = set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"])))
        used |= set(re.findall(r"[{,]\s*(\w+)=", alert["expr"]))
        assert used <= there, alert["alert"]
        values = re.findall(r'verdict="(\w+)"', alert["expr"])
        assert set(values) <= {each.value for each in Verdict}


def test_a_run_writes_the_file_and_no_tick_does(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    file = tmp_path / "vault.prom"
    vault = with_pages(world, Pages(metrics=file))
    vault.run()
    assert not file.exists()
    failed = vault.run("nightly")  # no instance is configured here: it fails
    assert failed.runs[0].exit_code
    assert not failed.warnings
    outcome = tuple(sorted((("outcome", "failed"), ("plan", "nightly"), ("series", "open-webui"))))
    assert samples(file.read_text())["owui_vault_run_outcome", outcome] == 1
    assert file.stat().st_mode & 0o777 == 0o644
    file.chmod(0o640)
    vault.run("nightly")
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir() if "prom" in each.name) == ["vault.prom"]


def with_pages(world: World, pages: Pages) -> Vault:
    return Vault(
        None,
        world.vault.repositories,
        clock=world.clock,
        state_dir=tmp_state(world),
        series="open-webui",
        environ={"TZ": "UTC"},
        plans=world.plans,
        pages=pages,
    )


def tmp_state(world: World) -> Path:
    return world.folder / "state"


def test_a_file_that_cannot_be_written_is_a_warning_of_the_run_and_nothing_else(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    without = with_pages(world, Pages()).run("nightly")
    report = with_pages(world, Pages(metrics=tmp_path / "absent" / "vault.prom")).run("nightly")
    assert report.runs[0].exit_code == without.runs[0].exit_code
    assert [each for each in report.warnings if "was not written" in each]


def test_whatever_goes_wrong_with_a_page_is_no_failure_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, NIGHTLY)

    def broken(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(publishing, "_metrics_of", broken)
    report = with_pages(world, Pages(metrics=tmp_path / "vault.prom")).run("nightly")
    assert any("vault.prom was not written" in each for each in report.warnings)


def test_an_instance_that_is_not_back_is_told_there_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, NIGHTLY)
    vault = with_pages(world, Pages(metrics=tmp_path / "vault.prom"))

    def left_paused(*_: object, **__: object) -> None:
        raise ResumeError("open-webui could not be resumed")

    monkeypatch.setattr(vault, "snapshot", left_paused)
    with pytest.raises(ResumeError):
        vault.run("nightly")
    chosen = tuple(sorted((("plan", "nightly"), ("series", "open-webui"), ("verdict", "wrong"))))
    assert samples((tmp_path / "vault.prom").read_text())["owui_vault_plan_verdict", chosen] == 1


def test_a_file_asked_for_by_name_must_be_writable(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    with pytest.raises(ConfigError, match=r"cannot be written"):
        world.vault.metrics(tmp_path / "absent" / "x.prom", offline=True)
    page = world.vault.metrics(tmp_path / "x.prom", offline=True)
    assert page.file
    assert page.file.read_text() == page.text
