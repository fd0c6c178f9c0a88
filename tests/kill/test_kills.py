"""SIGKILL of the whole program at random moments. `make soak` does the full count."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.kill.rounds import Killer
from tests.kill.site import PASSPHRASE, Site
from tests.restic_templates import PlaceRestic


@pytest.fixture(
    params=[
        pytest.param(("restic", 0.1), id="busy-restic"),
        pytest.param(("borg", 0.1), id="busy-borg", marks=pytest.mark.thorough),
        pytest.param(("restic", 0.0), id="idle-restic", marks=pytest.mark.thorough),
        pytest.param(("borg", 0.0), id="idle-borg", marks=pytest.mark.rare),
    ]
)
def site(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    *,
    own_restic: Path,
    own_borg: Path,
    place_restic: PlaceRestic,
) -> Iterator[Site]:
    engine, rest = request.param
    site = Site(tmp_path, engine, own_restic if engine == "restic" else own_borg)
    if engine == "restic":
        place_restic(site.repository, own_restic, PASSPHRASE)
    site.start(rest)
    try:
        site.succeed("init")
        yield site
    finally:
        site.stop()


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.timeout(1800)
def test_every_promise_holds_wherever_it_is_killed(
    site: Site, seed: random.Random, soak: Callable[[int], int], request: pytest.FixtureRequest
) -> None:
    killer = Killer(site, seed, busy="busy" in request.node.callspec.id)
    for _ in range(soak(25)):
        killer.round()
