"""A file that an attempt could not take leaves nothing in the stage, of now or of before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from owui_vault.capture.child.errors import SourceChangedError
from owui_vault.capture.child.fences import Probe
from owui_vault.capture.child.job import Job
from owui_vault.capture.child.marks import Mark, mark_of
from owui_vault.capture.child.stage_writer import StageWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StageWriter]:
    (tmp_path / "data" / "uploads").mkdir(parents=True)
    job = Job(
        data_dir=str(tmp_path / "data"),
        work_dir=str(tmp_path / "work"),
        databases=(),
        write_once=("uploads",),
        links=(),
        exclude=(),
        include=(),
        reserve_bytes=0,
        wal_growth_bytes=1 << 30,
    )
    Path(job.tree, "uploads").mkdir(parents=True)
    Path(job.desk).mkdir()
    probe = Probe(f"{job.desk}/probe")
    yield StageWriter(job, probe)
    probe.close()


def marked(path: Path, content: str) -> Mark:
    path.write_text(content)
    mark = mark_of(str(path))
    assert mark is not None
    return mark


@pytest.mark.parametrize("link", [True, False], ids=["linked", "copied"])
def test_an_older_state_goes_when_the_newer_one_cannot_be_taken(writer: StageWriter, link: bool) -> None:
    upload = Path(writer.job.data_dir, "uploads", "a")
    writer.put("uploads/a", marked(upload, "first"), link=link)
    second = marked(upload, "second, and longer")
    upload.unlink()
    with pytest.raises(SourceChangedError):
        writer.put("uploads/a", second, link=link)
    writer.drop_all_but(["uploads"])
    assert os.listdir(writer.place("uploads")) == []


def test_half_a_copy_does_not_stay(writer: StageWriter) -> None:
    upload = Path(writer.job.data_dir, "uploads", "a")
    mark = marked(upload, "whole")
    longer = mark._replace(size=mark.size + 1)
    with pytest.raises(SourceChangedError):
        writer.put("uploads/a", longer, link=False)
    writer.drop_all_but(["uploads"])
    assert os.listdir(writer.place("uploads")) == []
