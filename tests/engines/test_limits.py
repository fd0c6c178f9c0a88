"""How fast and how small: what the user asked for reaches the engine, and does what it says."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from owui_vault.engines.borg.engine import BorgEngine
from owui_vault.engines.restic.engine import ResticEngine
from owui_vault.errors import ConfigError
from owui_vault.model import Compression, Secret
from owui_vault.ports import Engine
from owui_vault.testing.engines.bench import Bench, make_label
from tests.borg_templates import PlaceBorg
from tests.restic_templates import PlaceRestic

_WORDS = [f"{number * 7919 % 100_003:x}" for number in range(3000)]
_CHANCE = random.Random(7)
TEXT = " ".join(_CHANCE.choice(_WORDS) for _ in range(300_000)).encode()


def stored(engine: Engine, folder: Path, data: bytes = TEXT) -> int:
    """The bytes that the repository takes with this in it."""
    folder.mkdir(exist_ok=True)
    bench = Bench(engine=engine, folder=folder)
    bench.tree.mkdir()
    (bench.tree / "file").write_bytes(data)
    if not bench.repository.exists():
        engine.initialize(bench.call())
    engine.store(bench.tree, make_label(1), bench.call())
    return sum(path.stat().st_size for path in bench.repository.rglob("*") if path.is_file())


@pytest.mark.slow
def test_one_scale_of_compression_for_both_engines(
    tmp_path: Path, *, own_restic: Path, own_borg: Path, place_restic: PlaceRestic, place_borg: PlaceBorg
) -> None:
    key = Secret("x")

    def made(name: str, place: Path, wanted: Compression) -> Engine:
        if name == "restic":
            place_restic(place, own_restic, "x")
            return ResticEngine(str(place), key, program=str(own_restic), compression=wanted)
        place_borg(place, own_borg, "x")
        return BorgEngine(str(place), key, program=str(own_borg), compression=wanted)

    for name in ("restic", "borg"):
        sizes = {}
        for wanted in Compression:
            folder = tmp_path / f"{name}-{wanted.value}"
            sizes[wanted] = stored(made(name, folder / "repository", wanted), folder)
        assert sizes[Compression.OFF] > 0.95 * len(TEXT), name
        assert sizes[Compression.MAX] < sizes[Compression.FAST] < 0.8 * len(TEXT), name


@pytest.mark.slow
def test_an_upload_limit_is_kept(tmp_path: Path, own_restic: Path) -> None:
    engine = ResticEngine(
        str(tmp_path / "bench" / "repository"), Secret("x"), program=str(own_restic), upload_limit=500 << 10
    )
    began = time.monotonic()
    stored(engine, tmp_path / "bench", os.urandom(2_000_000))
    assert time.monotonic() - began > 2_000_000 / (500 << 10) * 0.8


@pytest.mark.slow
def test_a_download_limit_is_kept(tmp_path: Path, own_restic: Path) -> None:
    place = str(tmp_path / "bench" / "repository")
    stored(ResticEngine(place, Secret("x"), program=str(own_restic)), tmp_path / "bench", os.urandom(2_000_000))
    slow = ResticEngine(place, Secret("x"), program=str(own_restic), download_limit=500 << 10)
    bench = Bench(engine=slow, folder=tmp_path / "bench")
    (snapshot,) = bench.listed().values()
    began = time.monotonic()
    bench.fetch(snapshot)
    assert time.monotonic() - began > 2_000_000 / (500 << 10) * 0.8


def test_borg_refuses_a_limit_that_it_does_not_have() -> None:
    BorgEngine("ssh://user@host/./repository", Secret("x"), upload_limit=1 << 20)
    with pytest.raises(ConfigError, match="cannot limit what it writes"):
        BorgEngine("/mnt/repository", Secret("x"), upload_limit=1 << 20)
