"""The decision beside the one of real restic.

A repository with hundreds of snapshots is made in a moment: restic is asked for its own key, and snapshot records of
any time, host and tags are sealed with it as restic's description of its format says. `restic forget --group-by host`
then decides about all timelines at once, each under a host of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305
from owui_vault.model import Label, Outcome, Proof, RetentionPolicy, Snapshot
from owui_vault.repositories.retention import decide

pytestmark = pytest.mark.slow

#: In the past of every machine: restic's `within` does not count from snapshots of the future.
BEGINNING = datetime(2014, 12, 20, tzinfo=UTC)
TIMELINES = 30
COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
RULES: Mapping[str, str] = {name: f"--keep-{name}" for name in COUNTS}


class Oracle:
    """One restic repository that holds nothing but snapshot records."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program = program
        self.repository = folder / "repository"
        self.environment = {
            "PATH": os.defpath,
            "HOME": str(folder),
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": "oracle",
            "TZ": "Pacific/Kiritimati",  # the caller's zone must not matter
        }
        self.ask("init")
        key = json.loads(self.ask("cat", "masterkey"))
        self.encryption = base64.b64decode(key["encrypt"])
        self.mac_key, self.mac_r = (base64.b64decode(key["mac"][part]) for part in ("k", "r"))

    def ask(self, *arguments: str) -> str:
        argv = [str(self.program), "--no-cache", *arguments]
        return subprocess.run(
            argv, env=self.environment, check=True, capture_output=True, text=True, timeout=120
        ).stdout

    def add(self, timeline: int, instant: datetime, tags: Sequence[str]) -> str:
        """Write one snapshot record; its id."""
        record = {
            "time": instant.isoformat(),
            "tree": "0" * 64,
            "paths": ["/data"],
            "hostname": str(timeline),
            "username": "root",
            "tags": list(tags),
        }
        sealed = self.seal(json.dumps(record).encode())
        identity = hashlib.sha256(sealed).hexdigest()
        (self.repository / "snapshots" / identity).write_bytes(sealed)
        return identity

    def seal(self, plain: bytes) -> bytes:
        nonce = os.urandom(16)
        text = Cipher(algorithms.AES(self.encryption), modes.CTR(nonce)).encryptor().update(plain)
        pad = Cipher(algorithms.AES(self.mac_key), modes.ECB()).encryptor().update(nonce)
        return nonce + text + Poly1305.generate_tag(self.mac_r + pad, text)

    def forget(self, policy: RetentionPolicy) -> dict[int, tuple[set[str], set[str]]]:
        """What restic would keep and remove of each timeline."""
        argv = ["forget", "--dry-run", "--json", "--no-lock", "--group-by", "host", *options(policy)]
        return {int(group["host"]): (ids(group["keep"]), ids(group["remove"])) for group in json.loads(self.ask(*argv))}


def ids(snapshots: list[dict[str, str]] | None) -> set[str]:
    return {one["id"] for one in snapshots or []}


def options(policy: RetentionPolicy) -> list[str]:
    chosen = [f"{option}={getattr(policy, name)}" for name, option in RULES.items() if getattr(policy, name)]
    chosen += [f"--keep-tag={tag}" for tag in policy.tags]
    if policy.within is not None:
        days, seconds = policy.within.days, policy.within.seconds
        chosen.append(f"--keep-within={days}d{seconds // 3600}h")
    return chosen


def moments(generator: random.Random) -> list[datetime]:
    """A timeline in order: nights, bursts, gaps of years, the edges of years and of ISO weeks."""
    at = BEGINNING + timedelta(days=generator.randrange(400), seconds=generator.randrange(86400))
    made = []
    for _ in range(generator.choice([1, 2, 5, 20, 45])):
        made.append(at)
        step = generator.choice([30, 900, 3600, 6 * 3600, 86400, 86400, 86400, 7 * 86400, 31 * 86400, 400 * 86400])
        at += timedelta(seconds=max(1, round(step * generator.uniform(0.7, 1.3))))
    return [moment for moment in made if moment.year < 2024] or made[:1]


def policy_of_chance(generator: random.Random) -> RetentionPolicy:
    counts: dict[str, Any] = {name: generator.choice([0, 0, 1, 2, 3, 7, 30]) for name in COUNTS}
    if not any(counts.values()):
        counts[generator.choice(COUNTS)] = generator.randint(1, 9)
    within = generator.choice([None, None, timedelta(hours=generator.randint(1, 24 * 500))])
    return RetentionPolicy(**counts, within=within, tags=generator.choice([(), (), ("release",), ("release", "audit")]))


def fill(oracle: Oracle, generator: random.Random) -> list[list[Snapshot]]:
    return [
        [
            recorded(oracle, timeline, sequence, instant, generator.choice([(), (), ("audit",), ("audit", "release")]))
            for sequence, instant in enumerate(moments(generator))
        ]
        for timeline in range(TIMELINES)
    ]


def recorded(oracle: Oracle, timeline: int, sequence: int, instant: datetime, tags: tuple[str, ...]) -> Snapshot:
    identity = oracle.add(timeline, instant, tags)
    label = Label(
        id=identity[:8],
        instance=str(timeline),
        fingerprint="f",
        instant=instant,
        sequence=sequence,
        outcome=Outcome.COMPLETE,
        mode=Proof.STOP,
        tags=tags,
    )
    return Snapshot(engine_id=identity, name=identity[:8], time=instant, label=label)


@pytest.mark.parametrize("restic_program", ["trixie", "sid"], indirect=True)
def test_restic_forget_decides_the_same(
    restic_program: Path, tmp_path: Path, seed: random.Random, soak: Callable[[int], int]
) -> None:
    oracle = Oracle(restic_program, tmp_path)
    timelines = fill(oracle, seed)
    for _ in range(soak(100)):
        policy = policy_of_chance(seed)
        answer = oracle.forget(policy)
        for number, series in enumerate(timelines):
            seed.shuffle(series)
            kept, removed = decide(policy, series)
            ours = {one.snapshot.engine_id for one in kept}, {one.engine_id for one in removed}
            assert ours == answer[number], f"{policy} on {[one.instant.isoformat() for one in series]}"


@pytest.mark.parametrize("restic_program", ["trixie", "sid"], indirect=True)
def test_the_oracle_would_notice_another_rule(restic_program: Path, tmp_path: Path, seed: random.Random) -> None:
    """A comparison that cannot fail proves nothing: one more of any rule is another answer somewhere."""
    oracle = Oracle(restic_program, tmp_path)
    timelines = fill(oracle, seed)
    policy = RetentionPolicy(daily=2, weekly=2)
    answer = oracle.forget(policy)
    other = replace(policy, daily=3)
    assert any(
        {one.snapshot.engine_id for one in decide(other, series)[0]} != answer[number][0]
        for number, series in enumerate(timelines)
    )
