"""What of `uploads/` is a cache, or can be made again: left out and listed, never linked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from owui_vault.instance.data_dir import probe_instance
from owui_vault.instance.layout import capture_plan
from owui_vault.manifest.excluded_sizes import excluded_sizes
from owui_vault.model import Component
from owui_vault.operations.inspect import InspectRequest, inspect_instance
from owui_vault.system.patterns import takes

UUID = "0b6f5f60-1111-4222-8333-123456789abc"


def make_remote(data_dir: Path, *, but: int = 0) -> None:
    """The rows as they are after uploads went to a bucket, `but` for the first of them."""
    with closing(sqlite3.connect(data_dir / "webui.db")) as connection:
        connection.execute(
            "UPDATE file SET path = 's3://bucket/' || id WHERE id NOT IN (SELECT id FROM file LIMIT ?)", (but,)
        )
        connection.commit()


def test_half_uploaded_models_are_left_out_and_listed(at_rest: Path, tmp_path: Path) -> None:
    models = ("llama-3.gguf", "Big Model [q4]*.GGUF", "weights.safetensors")
    for name in models:
        (at_rest / "uploads" / name).write_bytes(bytes(1000))
    mine = at_rest / "uploads" / f"{UUID}_mine.gguf"
    mine.write_bytes(b"somebody uploaded it to a chat")
    plan = capture_plan(at_rest, tmp_path)
    found = {each.path: each for each in excluded_sizes(plan)}
    assert sum(each.size_bytes for each in found.values() if "Ollama" in each.reason) == 3000
    assert not any(takes(plan, f"uploads/{name}") for name in models)
    assert takes(plan, f"uploads/{mine.name}")
    assert takes(plan, "uploads/Big Model [q4]x.GGUF")  # a name is no pattern


def test_output_of_marker_is_left_out_and_can_be_brought_back(at_rest: Path, tmp_path: Path) -> None:
    (at_rest / "uploads" / "marker_output").mkdir()
    (at_rest / "uploads" / "marker_output" / "a.md").write_text("text")
    plan = capture_plan(at_rest, tmp_path)
    (told,) = [each for each in excluded_sizes(plan) if each.path.startswith("uploads/")]
    assert (told.path, told.files, told.size_bytes) == ("uploads/marker_output", 1, 4)
    assert "made again" in told.reason
    kept = capture_plan(at_rest, tmp_path, include=["uploads/marker_output"])
    assert takes(kept, "uploads/marker_output/a.md")
    assert "uploads/marker_output" in kept.rewritten  # written again in place: copied, never linked


def test_a_model_that_is_brought_back_is_not_linked(at_rest: Path, tmp_path: Path) -> None:
    (at_rest / "uploads" / "llama.gguf").write_bytes(bytes(10))
    plan = capture_plan(at_rest, tmp_path, include=["uploads/*.gguf"])
    assert takes(plan, "uploads/llama.gguf")
    assert "uploads/llama.gguf" in plan.rewritten


def test_with_a_bucket_uploads_are_a_cache_and_left_out(newest: Path, tmp_path: Path) -> None:
    make_remote(newest)
    probe = probe_instance(newest)
    assert probe.facts is not None
    assert not probe.facts.has_local_uploads
    plan = capture_plan(newest, tmp_path, bucket="s3", local_uploads=probe.facts.has_local_uploads)
    (told,) = [each for each in excluded_sizes(plan) if each.path == "uploads"]
    assert told.files == 8
    assert "s3" in told.reason
    assert "cache" in told.reason
    assert takes(capture_plan(newest, tmp_path, include=["uploads"], bucket="s3"), "uploads/x")


def test_what_lies_only_here_is_kept_and_copied(newest: Path, tmp_path: Path) -> None:
    """Rows of a time before the bucket."""
    make_remote(newest, but=1)
    probe = probe_instance(newest)
    assert probe.facts is not None
    assert probe.facts.has_local_uploads
    plan = capture_plan(newest, tmp_path, bucket="s3", local_uploads=True)
    assert takes(plan, "uploads/x")
    assert plan.write_once == ()


@pytest.mark.parametrize("but", [0, 1])
def test_inspect_tells_what_happens_to_the_cache(newest: Path, tmp_path: Path, but: int) -> None:
    make_remote(newest, but=but)
    (newest.parent / ".env").write_text("STORAGE_PROVIDER=s3\nS3_BUCKET_NAME=mine\n")
    report = inspect_instance(InspectRequest(path=newest, name="x", work_dir=tmp_path, modes=()))
    sizes = {each.name: each for each in report.components}
    assert sizes[Component.UPLOADS].included is bool(but)
    text = "\n".join(report.warnings)
    assert "excluded by the configuration" not in text
    assert "mine" in text
