"""One instant in three places, the second at the end of a link that fails while it is stored to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from owui_vault.testing.children import descendants
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.borg_templates import PlaceBorg
from tests.cli.conftest import PASSPHRASE
from tests.engines.restic.test_servers import PASSWORD, USER, rest
from tests.faulty_link import Link, http_link
from tests.restic_templates import PlaceRestic

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

UPLOADED_BYTES = 12_000_000
SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Three:
    """An instance, and a configuration with a folder, a server behind a link, and borg."""

    folder: Path
    link: Link

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "owui_vault", "--config", str(self.folder / "vault.yaml"), *words]

    def run(self, *words: str) -> int:
        done = subprocess.run(self.argv(*words), capture_output=True, text=True, timeout=SECONDS, check=False)
        print(*words, done.stdout, done.stderr)  # where it fails, to be seen
        return done.returncode

    def held(self) -> dict[str, list[str]]:
        """The ids that each lists."""
        done = subprocess.run(self.argv("--json", "snapshots"), capture_output=True, timeout=SECONDS, check=True)
        rows: list[dict[str, Any]] = json.loads(done.stdout)["snapshots"]
        held: dict[str, list[str]] = {"first": [], "second": [], "third": []}
        for row in rows:
            held[row["repository"]].append(row["id"])
        return {name: sorted(ids) for name, ids in held.items()}

    def upload(self, name: str) -> None:
        use_small_instance(self.folder / "data", name)
        (self.folder / "data" / "uploads" / f"{name}.bin").write_bytes(os.urandom(UPLOADED_BYTES))


@pytest.fixture
def three(
    tmp_path: Path,
    *,
    own_restic: Path,
    own_borg: Path,
    rest_server: Path,
    place_restic: PlaceRestic,
    place_borg: PlaceBorg,
) -> Iterator[Three]:
    make_small_instance(tmp_path / "data")
    (tmp_path / "pass").write_text(PASSPHRASE)
    (tmp_path / "pass").chmod(0o600)
    served = tmp_path / "server"
    served.mkdir()
    place_restic(tmp_path / "first", own_restic, PASSPHRASE)
    place_restic(served / "served" / USER / "repository", own_restic, PASSPHRASE)
    place_borg(tmp_path / "third", own_borg, PASSPHRASE)
    with rest(served, rest_server) as place, http_link(int(place.location.split(":")[3].split("/")[0])) as link:
        (tmp_path / "vault.yaml").write_text(
            f"""\
instance: {{data_dir: {tmp_path}/data}}
state_dir: {tmp_path}/state
limits: {{parallel: 1}}
repositories:
  first:
    engine: restic
    location: {tmp_path}/first
    passphrase: {{file: {tmp_path}/pass}}
    program: {own_restic}
  second:
    engine: restic
    location: "rest:http://127.0.0.1:{link.port}/{USER}/repository/"
    passphrase: {{file: {tmp_path}/pass}}
    program: {own_restic}
    environment: {{RESTIC_REST_USERNAME: {USER}, RESTIC_REST_PASSWORD: "{PASSWORD}"}}
  third:
    engine: borg
    location: {tmp_path}/third
    passphrase: {{file: {tmp_path}/pass}}
    program: {own_borg}
"""
        )
        (tmp_path / "vault.yaml").chmod(0o600)
        made = Three(folder=tmp_path, link=link)
        assert made.run("init") == 0
        yield made


def killed_while_storing_to_the_second(three: Three) -> None:
    """Killed with all that it started, once a third of an upload has passed the link and the rest is on its way."""
    three.link.hang_after = three.link.sent_bytes + UPLOADED_BYTES // 3
    process = subprocess.Popen(
        three.argv("snapshot"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    until = time.monotonic() + SECONDS
    while three.link.sent_bytes < three.link.hang_after:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    for pid in [*descendants(process.pid), process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.wait()
    three.link.heal()


@pytest.mark.parametrize("healed_by", ["replicate", "the next snapshot"])
def test_killed_while_storing_to_the_second_of_three(three: Three, healed_by: str) -> None:
    three.upload("before")
    assert three.run("snapshot") == 0
    (before,) = three.held()["first"]
    assert three.held() == {"first": [before], "second": [before], "third": [before]}
    three.upload("tonight")
    killed_while_storing_to_the_second(three)
    held = three.held()
    assert {name: ids for name, ids in held.items() if name != "first"} == {"second": [before], "third": [before]}
    (tonight,) = set(held["first"]) - {before}
    if healed_by == "the next snapshot":
        three.upload("tomorrow")
        assert three.run("snapshot") == 0
        assert len(three.held()["second"]) == len(three.held()["third"]) == 2, "what tonight lacks is no hindrance"
    assert three.run("replicate", "--from", "first") == 0
    after = three.held()
    assert tonight in after["second"]
    assert after["first"] == after["second"] == after["third"]
    for name in after:
        assert three.run("verify", tonight, "--from", name, "--read-data") == 0
