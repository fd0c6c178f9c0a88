"""Plans: every key, and each mistake told with its path, at load."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from owui_vault.config import load_settings
from owui_vault.errors import ConfigError
from owui_vault.model import Quiesce
from owui_vault.model.plans import CronSchedule, IntervalSchedule, Plan, PlannedReplication

REPOSITORIES = """
repositories:
  nas: {engine: restic, location: /mnt/nas, passphrase: {env: A}, keep: {daily: 7}}
  away: {engine: borg, location: /mnt/away, passphrase: {env: A}}
"""
INSTANCE = "instance: {data_dir: /opt/open-webui}"


def plans(folder: Path, text: str, *, around: str = INSTANCE + REPOSITORIES) -> tuple[Plan, ...]:
    file = folder / "vault.yaml"
    file.write_text(around + "plans:\n" + text)
    file.chmod(0o600)
    return load_settings(file, {"HOME": "/home/ada", "CATCH_UP": "false", "READ": "20%"}).plans


def test_every_key_becomes_a_value(tmp_path: Path) -> None:
    nightly, carried, proof = plans(
        tmp_path,
        """
  nightly:
    schedule: "0 3 * * *"
    timezone: Europe/Vienna
    repositories: [nas]
    quiesce: stop
    tags: [cold]
    prune: true
    verify: 5%
    jitter: 30m
    catch_up: false
    grace: 3h
  carried: {schedule: {every: 7d}, repositories: [away], prune: false, verify: true}
  proof: {schedule: 0 5 1 * *, snapshot: false, verify: 100%}
""",
    )
    assert nightly == Plan(
        name="nightly",
        schedule=CronSchedule(expression="0 3 * * *", timezone="Europe/Vienna"),
        repositories=("nas",),
        quiesce=Quiesce.STOP,
        tags=("cold",),
        verify=True,
        read_data=0.05,
        jitter=timedelta(minutes=30),
        catch_up=False,
        grace=timedelta(hours=3),
    )
    assert carried == Plan(
        name="carried",
        schedule=IntervalSchedule(every=timedelta(days=7)),
        repositories=("away",),
        prune=False,
        verify=True,
    )
    expected = CronSchedule(expression="0 5 1 * *")
    assert proof == Plan(name="proof", schedule=expected, snapshot=False, verify=True, read_data=1.0)


def test_the_least_is_a_name_and_a_schedule(tmp_path: Path) -> None:
    assert plans(tmp_path, '  nightly: {schedule: "0 3 * * *"}\n') == (
        Plan(name="nightly", schedule=CronSchedule(expression="0 3 * * *")),
    )


def test_variables_bring_truth_values_and_percentages(tmp_path: Path) -> None:
    (found,) = plans(tmp_path, '  a: {schedule: "0 3 * * *", catch_up: "${CATCH_UP}", verify: "${READ}"}\n')
    assert (found.catch_up, found.verify, found.read_data) == (False, True, 0.2)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("verify: true", "plans.a.schedule (line 6): is missing"),
        ("schedule: 5", "plans.a.schedule (line 6): must be a mapping of keys and values, not a number"),
        ("schedule: ''", "plans.a.schedule (line 6): is empty"),
        ("schedule: 0 0 30 2 *", "plans.a.schedule (line 6): is no cron expression, or never comes: bad day-of-month"),
        ("schedule: '@daily'", "must be a cron expression of five fields"),
        ("schedule: {each: 1d}", "plans.a.schedule.each (line 6): is not known; allowed here: every"),
        ("schedule: {every: 0d}", "plans.a.schedule.every (line 6): must be longer than zero"),
        ("schedule: {every: 367d}", "must be at most 366d"),
        ("schedule: 0 3 * * *, timezone: Mars/Olympus", "'Mars/Olympus' is no time zone that this machine knows"),
        ("schedule: {every: 1d}, timezone: UTC", "plans.a (line 6): has 'timezone', which goes with a cron expression"),
        ("schedule: 0 3 * * *, repositories: [nsa]", "plans.a.repositories[1] (line 6): there is no repository 'nsa'"),
        (
            "schedule: 0 3 * * *, repositories: [nas, nas]",
            "plans.a.repositories[2] (line 6): names 'nas' a second time",
        ),
        ("schedule: 0 3 * * *, quiesce: never", "must be one of auto, live, pause or stop"),
        ("schedule: 0 3 * * *, snapshot: false, quiesce: stop, verify: true", "has 'quiesce' and takes no snapshot"),
        ("schedule: 0 3 * * *, snapshot: false, tags: [x], verify: true", "has 'tags' and takes no snapshot"),
        ("schedule: 0 3 * * *, snapshot: false, prune: false", "plans.a (line 6): does nothing"),
        ("schedule: 0 3 * * *, prune: true", "plans.a.prune (line 6): prunes away, which has no 'keep'"),
        ("schedule: 0 3 * * *, snapshot: false", "plans.a (line 6): prunes away, which has no 'keep'"),
        ("schedule: 0 3 * * *, verify: 0%", "plans.a.verify (line 6): must be true, false, or a percentage"),
        ("schedule: 0 3 * * *, verify: 5", "must be true, false, or a percentage from 1% to 100%"),
        ("schedule: 0 3 * * *, catch_up: 1", "plans.a.catch_up (line 6): must be true or false, not a number"),
        ("schedule: 0 3 * * *, jitter: 25h", "plans.a.jitter (line 6): must be at most 1d"),
        ("schedule: 0 3 * * *, grace: 400d", "plans.a.grace (line 6): must be at most 366d"),
        ("schedule: 0 3 * * *, tag: [x]", "plans.a.tag (line 6): is not known; did you mean 'tags'?"),
        ("schedule: 0 3 * * *, drill: true", "plans.a.drill (line 6): is not built yet"),
        ("schedule: 0 3 * * *, replicate: nas", "plans.a.replicate (line 6): must be a list, not text"),
        ("schedule: 0 3 * * *, replicate: {from: nas}", "plans.a.replicate.to (line 6): is missing"),
        ("schedule: 0 3 * * *, replicate: {from: nas, to: []}", "names no repository"),
        ("schedule: 0 3 * * *, replicate: {from: nas, too: away}", "replicate.too (line 6): is not known"),
        ("schedule: 0 3 * * *, replicate: {from: nsa, to: away}", "from (line 6): there is no repository 'nsa'"),
        ("schedule: 0 3 * * *, replicate: {from: nas, to: awaay}", "to (line 6): there is no repository 'awaay'"),
        ("schedule: 0 3 * * *, replicate: {from: nas, to: nas}", "names 'nas', which is where it comes from"),
        (
            "schedule: 0 3 * * *, repositories: [nas, away], replicate: {from: nas, to: away}",
            "names 'away', where this plan stores its snapshots itself",
        ),
        (
            "schedule: 0 3 * * *, replicate: [{from: nas, to: away}, {from: away, to: nas}]",
            "plans.a.replicate (line 6): leaves no repository to store its snapshots in",
        ),
    ],
)
def test_each_mistake_has_its_path(tmp_path: Path, keys: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        plans(tmp_path, f"  a: {{{keys}}}\n")
    assert said in raised.value.message


@pytest.mark.parametrize("written", ["{from: nas, to: away}", "{from: nas, to: [away]}", "[{from: nas, to: away}]"])
def test_what_is_replicated_is_written_shortly_or_as_a_list(tmp_path: Path, written: str) -> None:
    (plan,) = plans(tmp_path, f'  a: {{schedule: "0 3 * * *", replicate: {written}}}\n')
    assert plan.replicate == (PlannedReplication(source="nas", to=("away",)),)
    assert plan.mirrors == ("away",)


def test_a_plan_that_has_nothing_to_work_with_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes a snapshot, and no instance is configured"):
        plans(tmp_path, '  a: {schedule: "0 3 * * *"}\n', around=REPOSITORIES)
    with pytest.raises(ConfigError, match="has no repository to work with"):
        plans(tmp_path, '  a: {schedule: "0 3 * * *"}\n', around=INSTANCE + "\n")
    with pytest.raises(ConfigError, match=r"plans\.A .* must be a name"):
        plans(tmp_path, '  A: {schedule: "0 3 * * *"}\n')
    (found,) = plans(tmp_path, '  a: {schedule: "0 3 * * *", snapshot: false, verify: true}\n', around=REPOSITORIES)
    assert found.verify


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        plans(tmp_path, '  a: {schedule: "0 3 * * *", repositories: [x, y]}\n  b: {schedule: "0 3 * * *", drill: 1}\n')
    assert all(said in raised.value.message for said in ("'x'", "'y'", "b.drill", "3 mistakes"))
