"""With a bucket `uploads/` is a cache, which each read of an upload rewrites in place."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault import Component, DataDirectory, Outcome, Progress, Repository, Secret, Step, Vault
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.operations.house import House


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    (tmp_path / ".env").write_text("STORAGE_PROVIDER=s3\nS3_BUCKET_NAME=mine\n")
    return house


def send_to_the_bucket(house: House, *, but: int = 0) -> None:
    with closing(sqlite3.connect(house.data_dir / "webui.db")) as connection:
        connection.execute(
            "UPDATE file SET path = 's3://mine/' || id WHERE id NOT IN (SELECT id FROM file LIMIT ?)", (but,)
        )
        connection.commit()


def test_a_cache_is_left_out_and_listed_and_a_restore_leaves_it_alone(house: House) -> None:
    send_to_the_bucket(house)
    report = house.a_vault().snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.manifest
    (told,) = [each for each in report.manifest.left_out if each.path == "uploads"]
    assert told.files == 2
    assert Component.UPLOADS not in {each.name for each in report.manifest.components}
    (house.data_dir / "uploads" / "later").write_text("read from the bucket")
    vault = house.a_vault()
    assert vault.verify("latest", read_data=1.0).ok
    plan = vault.plan_replacement("latest")
    assert "uploads" in plan.stays
    vault.replace(plan)
    assert len(os.listdir(house.data_dir / "uploads")) == 3


def test_reading_an_upload_meanwhile_makes_no_snapshot_incomplete(house: House) -> None:
    """Rows of a time before the bucket: the bytes of one upload lie here alone."""
    send_to_the_bucket(house, but=1)
    cached = sorted((house.data_dir / "uploads").iterdir())

    def read_one(event: Progress) -> None:
        if event.step is Step.STORE:
            for path in cached:
                with path.open("r+b") as file:
                    file.write(b"again from the bucket")

    before = {path.name: path.read_bytes() for path in cached}
    report = house.a_vault().snapshot(progress=read_one)
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.manifest
    assert report.manifest.proof.linked_files == 0
    vault = house.a_vault()
    copy = vault.restore("latest", house.folder / "copy").data_dir
    assert {path.name: path.read_bytes() for path in (copy / "uploads").iterdir()} == before


def test_whoever_wants_the_cache_gets_it_copied(house: House) -> None:
    send_to_the_bucket(house)
    instance = DataDirectory(house.data_dir, include=("uploads",))
    repository = Repository("one", DirectoryEngine(house.folder / "repository", Secret("x")))
    report = Vault(instance, [repository], state_dir=house.folder / "state").snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.manifest
    assert report.manifest.proof.linked_files == 0
    assert Component.UPLOADS in {each.name for each in report.manifest.components}


def test_output_that_is_written_again_and_again_is_left_out(house: House) -> None:
    (house.folder / ".env").unlink()
    (house.data_dir / "uploads" / "marker_output").mkdir()
    (house.data_dir / "uploads" / "marker_output" / "a.md").write_text("text")
    (house.data_dir / "uploads" / "half.gguf").write_bytes(bytes(5000))
    report = house.a_vault().snapshot()
    assert report.outcome is Outcome.COMPLETE, report.problems
    assert report.manifest
    sizes = {each.path: each.size_bytes for each in report.manifest.left_out}
    assert (sizes["uploads/marker_output"], sizes["uploads/half.gguf"]) == (4, 5000)
    copy = house.a_vault().restore("latest", house.folder / "copy").data_dir
    assert not (copy / "uploads" / "half.gguf").exists()
