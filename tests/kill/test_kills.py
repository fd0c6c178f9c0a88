"""SIGKILL of the whole program at random moments. `make soak` does the full count."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.kill.rounds import Killer
from tests.kill.site import PASSPHRASE, Site
from tests.restic_templates import PlaceRestic


@pytest.fixture(params=["restic", pytest.param("borg", marks=pytest.mark.thorough)])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[0.1, pytest.param(0.0, marks=pytest.mark.thorough)], ids=["busy", "idle"])
def site(
    engine: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    *,
    own_restic: Path,
    own_borg: Path,
    place_restic: PlaceRestic,
) -> Iterator[Site]:
    site = Site(tmp_path, engine, own_restic if engine == "restic" else own_borg)
    if engine == "restic":
        place_restic(site.repository, own_restic, PASSPHRASE)
    site.start(request.param)
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
