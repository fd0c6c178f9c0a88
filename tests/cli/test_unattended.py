"""Plans as the program runs them: a real instance, a real repository, real kills, and what is heard of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
Program = Any  # the class of that name in conftest.py

PLANS = """\
plans:
  nightly: {schedule: "0 3 * * *", verify: true, timezone: UTC}
  often: {schedule: {every: 1h}, prune: false}
"""


@pytest.fixture
def planned(vault: Program) -> Program:
    vault.configure((vault.folder / "vault.yaml").read_text() + PLANS)
    return vault


def ledger(vault: Program) -> Path:
    path: Path = vault.folder / "state/instances/open-webui/runs.jsonl"
    return path


def test_what_is_due_is_done_and_told_and_then_nothing_is(planned: Program) -> None:
    said = planned.run("run", "--dry-run")
    assert "nothing in nas yet" in said.stdout
    done = planned.run("run")
    assert done.returncode == 0, done.stderr
    assert "often: success" in done.stdout
    assert "snapshot: nas: stored" in done.stdout
    again = planned.run("run")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    entries = {json.loads(each)["entry"] for each in ledger(planned).read_text().splitlines()}
    assert entries == {"plan", "run-began", "step-began", "step-ended", "run-ended", "place-measured"}
    listed = planned.json("history")["runs"]
    assert [(each["plan"], each["outcome"]) for each in listed] == [("often", "success")]
    newest = planned.json("snapshots")["snapshots"][0]
    assert newest["label"]["plan"] == "often"
    assert newest["label"]["id"] == listed[0]["steps"][0]["results"][0]["snapshot"]


@pytest.mark.thorough
def test_a_named_plan_runs_all_its_steps_and_status_sees_it(planned: Program) -> None:
    assert planned.run("status", "--offline").returncode == 6
    report = planned.json("run", "nightly", "often")
    assert [each["step"] for each in report["runs"][0]["steps"]] == ["snapshot", "prune", "verify"]
    assert [each["outcome"] for each in report["runs"][0]["steps"]] == ["success"] * 3
    assert planned.run("-q", "status").returncode == 0
    quiet = planned.run("-q", "status", "--offline")
    assert (quiet.returncode, quiet.stdout) == (0, "")
    shown = planned.run("status")
    assert "Everything is as new as it should be." in shown.stdout
    (planned.folder / "nas").rename(planned.folder / "away")
    assert planned.json("status", code=6)["plans"][0]["repositories"][0]["error"]["type"] == "RepositoryMissingError"
    assert planned.json("status", "--offline")["verdict"] == "fine"
    failed = planned.run("-q", "run", "nightly")
    assert failed.returncode == 1
    assert "nightly: FAILED" in failed.stdout
    assert "no repository at" in failed.stdout or "repository" in failed.stdout
    wrong = planned.run("-q", "status", "--offline")
    assert wrong.returncode == 5
    assert "WRONG" in wrong.stdout


def slow_engine(vault: Program, at: str) -> Path:
    """An engine that hangs at one of its commands, and says so in a file."""
    engine = (vault.folder / "vault.yaml").read_text().partition("program: ")[2].partition(",")[0]
    script = vault.folder / "slow-engine"
    hang = f'if [ "$word" = {at} ]; then touch {vault.folder}/waiting; exec sleep 60; fi'
    script.write_text(f'#!/bin/sh\nfor word; do {hang}; done\nexec {engine} "$@"\n')
    script.chmod(0o755)
    vault.configure((vault.folder / "vault.yaml").read_text().replace(engine, str(script)))
    waiting: Path = vault.folder / "waiting"
    return waiting


def wait_for(path: Path, child: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)


@pytest.mark.thorough
def test_a_wish_to_stop_is_written_down(planned: Program) -> None:
    waiting = slow_engine(planned, "backup")
    child = planned.start("--json", "run", "nightly")
    wait_for(waiting, child)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 143, out + err
    (record,) = planned.json("history")["runs"]
    assert (record["outcome"], record["steps"][0]["step"]) == ("failed", "snapshot")
    assert record["steps"][0]["error"]["type"] == "CancelledError"


@pytest.mark.thorough
def test_no_secret_is_in_the_ledger(planned: Program) -> None:
    text = (planned.folder / "vault.yaml").read_text()
    where = "rest:http://ada:hunter2@127.0.0.1:9/secret-place"
    planned.configure(text.replace("location: nas", f"location: '{where}'"))
    done = planned.run("run", "nightly")
    assert done.returncode == 1
    written = ledger(planned).read_text()
    assert "hunter2" not in written + done.stdout + done.stderr
    assert "nightly" in written


def test_a_run_whose_time_was_slept_through_is_made_up_for(planned: Program) -> None:
    """The ledger says that the plan is older than its last time; nothing else does."""
    planned.run("run")
    moment = (datetime.now(UTC) - timedelta(days=3)).isoformat().replace("+00:00", "Z")
    lines = [json.loads(each) for each in ledger(planned).read_text().splitlines()]
    for each in lines:
        if each["entry"] == "plan":
            each["at"] = each["since"] = moment
    ledger(planned).write_text("".join(json.dumps(each) + "\n" for each in lines))
    report = planned.json("run")
    assert [each["plan"] for each in report["runs"]] == ["nightly"]
    assert report["runs"][0]["because"].startswith("due since")


def test_prometheus_reads_what_status_says_from_stdout_or_a_file(planned: Program) -> None:
    said = planned.run("-q", "status", "--offline", "--metrics")
    assert said.returncode == 6
    assert 'owui_vault_verdict{series="open-webui",verdict="unknown"} 1.0' in said.stdout
    written = planned.run("status", "--offline", "--metrics", "vault.prom")
    assert "written to" in written.stdout
    assert "owui_vault_info" in (planned.folder / "vault.prom").read_text()
    assert planned.run("status", "vault.prom").returncode == 2
    assert planned.json("status", "--metrics", "--offline", code=6)["text"].startswith("# HELP")


def test_each_run_writes_the_metrics_that_the_configuration_names(planned: Program) -> None:
    planned.configure((planned.folder / "vault.yaml").read_text() + "metrics: vault.prom\n")
    assert planned.run("run", "often").returncode == 0
    text = (planned.folder / "vault.prom").read_text()
    assert 'owui_vault_restore_points{plan="often",repository="nas",series="open-webui"} 1.0' in text
    assert "owui_vault_repository_free_bytes" in text
    shown = planned.run("status").stdout
    assert "full in" in shown
    assert "correct horse" not in text


def test_a_page_to_look_at_is_written_after_each_run_and_on_request(planned: Program) -> None:
    planned.configure((planned.folder / "vault.yaml").read_text() + "report: backups.html\n")
    assert planned.run("run", "nightly").returncode == 0
    page = (planned.folder / "backups.html").read_text()
    assert "Something needs a hand" in page or "Everything is as new" in page or "older than it should be" in page
    newest = planned.json("snapshots")["snapshots"][0]["label"]["id"]
    assert newest in page
    for secret in ("correct horse", str(planned.folder / "passphrase")):
        assert secret not in page
    printed = planned.run("-q", "report", "--offline")
    assert printed.returncode == 0
    assert printed.stdout.startswith("<!DOCTYPE html>")
    assert planned.run("report", "mine.html").stdout.endswith("mine.html\n")
    assert newest in (planned.folder / "mine.html").read_text()
    assert planned.json("report")["text"].startswith("<!DOCTYPE html>")


@pytest.mark.alone
def test_a_tick_with_nothing_due_costs_at_most_half_of_a_list(planned: Program) -> None:
    """In processor time, each as cron would start it, in turns; a timer asks 144 times a day.

    The repository is one of restic's own making: the keys of the others here cost nothing to derive.
    """
    planned.configure((planned.folder / "vault.yaml").read_text().replace("location: nas", "location: real"))
    cold = type(planned)(planned.folder)
    assert (cold.run("init").returncode, cold.run("run").returncode) == (0, 0)

    def cost(*words: str) -> float:
        before = os.times()
        assert cold.run(*words).returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    tick, listing = zip(*((cost("run"), cost("snapshots")) for _ in range(5)), strict=True)
    assert min(tick) <= 0.5 * min(listing), (tick, listing)
