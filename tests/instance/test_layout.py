"""Each file belongs to exactly one component, and the database cannot be left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from owui_vault.errors import ConfigError
from owui_vault.instance.layout import capture_plan, component_of, located, work_dir_for
from owui_vault.manifest.excluded_sizes import excluded_sizes
from owui_vault.model import Component
from owui_vault.system.patterns import takes

PLACES = {
    "webui.db": Component.DATABASE,
    "webui.db-wal": Component.DATABASE,
    "webui.db-shm": Component.DATABASE,
    "webui.db-journal": Component.DATABASE,
    "webui.db.bak": Component.OTHER,
    "vector_db/chroma.sqlite3": Component.VECTORS,
    "vector_db/a/b.bin": Component.VECTORS,
    "uploads/x": Component.UPLOADS,
    "uploads": Component.UPLOADS,
    "uploads.old/x": Component.OTHER,
    "cache/functions/f/x": Component.PLUGIN_FILES,
    "cache/tools/t": Component.PLUGIN_FILES,
    "cache/toolsmith": Component.CACHE,
    "cache/image/generations/1.png": Component.GENERATED_IMAGES,
    "cache/image/other": Component.CACHE,
    "cache/whisper/models/x": Component.CACHE,
    "config.json": Component.LEGACY,
    "old_config.json": Component.LEGACY,
    "ollama.db": Component.LEGACY,
    "ollama.db-journal": Component.LEGACY,
    "l.data": Component.LEGACY,
    "sub/config.json": Component.OTHER,
    "audit.log": Component.AUDIT_LOG,
    "audit.2026-11-20_03-00-00_000000.log.zip": Component.AUDIT_LOG,
    "audit.log.1": Component.AUDIT_LOG,
    "auditorium.log": Component.OTHER,
    "my notes\n.txt": Component.OTHER,
    "": Component.OTHER,
}


@pytest.mark.parametrize("path", sorted(PLACES))
def test_each_path_has_its_component(path: str) -> None:
    assert component_of(path) is PLACES[path]


@given(st.text())
def test_any_name_has_a_component(name: str) -> None:
    assert isinstance(component_of(name), Component)


def test_state_is_captured_and_caches_are_not(at_rest: Path, tmp_path: Path) -> None:
    for name in ("cache/whisper/models/m.bin", "cache/new-thing/x", "cache/image/generations/1.png", "notes.txt"):
        (at_rest / name).parent.mkdir(parents=True, exist_ok=True)
        (at_rest / name).write_bytes(b"12345")
    plan = capture_plan(at_rest, tmp_path / "work")
    assert plan.databases == ("webui.db", "vector_db/chroma.sqlite3")
    kept = (
        "webui.db",
        "uploads/x",
        "vector_db/x",
        "cache/tools/t",
        "cache/functions",
        "cache",
        "cache/image",
        "notes.txt",
    )
    assert all(takes(plan, name) for name in (*kept, "cache/image/generations/1.png", "config.json"))
    lost = (
        "cache/whisper/models/m.bin",
        "cache/audio/speech/x.mp3",
        "cache/new-thing/x",
        "audit.log",
        ".owui-vault/stage",
    )
    assert not any(takes(plan, name) for name in lost)


def test_what_is_left_out_is_listed_with_its_size(at_rest: Path, tmp_path: Path) -> None:
    (at_rest / "cache" / "whisper").mkdir()
    (at_rest / "cache" / "whisper" / "model.bin").write_bytes(bytes(1000))
    (at_rest / "cache" / "whisper" / "link").symlink_to("model.bin")
    (at_rest / ".owui-vault").mkdir()
    (at_rest / ".owui-vault" / "stage").write_bytes(bytes(99))
    found = {each.path: each for each in excluded_sizes(capture_plan(at_rest, tmp_path, exclude=["uploads/*.bin"]))}
    assert set(found) == {"audit.log", "cache/audio", "cache/whisper", "uploads/*.bin"}
    assert (found["cache/whisper"].files, found["cache/whisper"].size_bytes) == (2, 1000)
    assert (found["uploads/*.bin"].files, found["uploads/*.bin"].size_bytes) == (2, 400_000)
    assert found["uploads/*.bin"].reason == "excluded by the configuration"
    assert "downloaded again" in found["cache/audio"].reason


def test_include_brings_a_cache_back(at_rest: Path, tmp_path: Path) -> None:
    plan = capture_plan(at_rest, tmp_path, include=["cache/audio/", "./audit.log"])
    assert takes(plan, "cache/audio/speech/x.mp3")
    assert takes(plan, "audit.log")
    assert excluded_sizes(plan) == ()


def test_what_is_left_out_may_be_as_deep_as_it_likes(at_rest: Path, tmp_path: Path) -> None:
    folder = at_rest / "cache" / "whisper"
    folder.mkdir(parents=True, exist_ok=True)
    goes_down = (
        "import os, sys; os.chdir(sys.argv[1])\nfor _ in range(1200): os.mkdir('d'); os.chdir('d')\nopen('f', 'w')"
    )
    subprocess.run([sys.executable, "-c", goes_down, folder], check=True)
    try:
        found = {each.path: each.files for each in excluded_sizes(capture_plan(at_rest, tmp_path))}
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)
    assert found["cache/whisper"] == 1


def test_the_operator_may_exclude_what_is_kept_of_the_cache(at_rest: Path, tmp_path: Path) -> None:
    plan = capture_plan(at_rest, tmp_path, exclude=["cache/tools"])
    assert not takes(plan, "cache/tools/tool_s")
    assert takes(plan, "cache/functions/function_s")


@pytest.mark.parametrize(
    "pattern", ["webui.db", "*.db", "*", "webui*", "webui.db-wal", "we[b]ui.db", "./webui.db", "?ebui.db"]
)
def test_the_database_cannot_be_excluded(at_rest: Path, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match="would leave out the database") as caught:
        capture_plan(at_rest, tmp_path, exclude=[pattern])
    assert caught.value.hint


@pytest.mark.parametrize("pattern", ["/etc", "../other", "a/../../b", "", "/", ".owui-vault", ".owui-vault/stage"])
def test_patterns_stay_inside(at_rest: Path, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match="is not a path inside"):
        capture_plan(at_rest, tmp_path, include=[pattern])


@pytest.mark.parametrize("name", ["a*b", "a[1]", "{a,b}", "new\nline", os.fsdecode(b"raw-\xff"), "q?", "it's", "a\\b"])
def test_an_odd_name_in_the_cache_is_left_out_by_itself(at_rest: Path, tmp_path: Path, name: str) -> None:
    (at_rest / "cache" / name).mkdir()
    (at_rest / "cache" / name / "x").write_bytes(b"123")
    plan = capture_plan(at_rest, tmp_path)
    assert not takes(plan, f"cache/{name}/x")
    assert takes(plan, "cache/tools/x")
    assert (
        sum(each.size_bytes for each in excluded_sizes(plan) if "audio" not in each.path and "audit" not in each.path)
        == 3
    )


def test_components_behind_symlinks_are_resolved(at_rest: Path, tmp_path: Path) -> None:
    real = tmp_path / "disk"
    real.mkdir()
    for name in ("uploads", "vector_db", "webui.db"):
        (at_rest / name).rename(real / name)
        (at_rest / name).symlink_to(real / name)
    (tmp_path / "door").symlink_to(at_rest)
    plan = capture_plan(tmp_path / "door", tmp_path / "work")
    assert plan.data_dir == at_rest
    assert dict(plan.links) == {name: real / name for name in ("webui.db", "uploads", "vector_db")}
    assert plan.databases == ("webui.db", "vector_db/chroma.sqlite3")


def test_parts_that_are_mounted_from_elsewhere_are_followed_the_deepest_first(at_rest: Path, tmp_path: Path) -> None:
    """The directory itself holds only the empty mount points then."""
    store, uploads, deep = (tmp_path / name for name in ("store", "uploads", "deep"))
    (at_rest / "vector_db").rename(store)
    for path in (at_rest / "vector_db", uploads, deep):
        path.mkdir()
    mounted = (("uploads", uploads), ("uploads/sub", deep), ("vector_db", store))
    plan = capture_plan(at_rest, tmp_path / "work", mounted=mounted)
    assert plan.databases == ("webui.db", "vector_db/chroma.sqlite3")
    assert plan.links[0] == ("uploads/sub", deep)
    assert set(plan.links) == set(mounted)
    assert set(plan.mounted) == {"uploads", "uploads/sub", "vector_db"}
    assert located(at_rest, plan.links, "uploads/sub/x") == deep / "x"
    assert located(at_rest, plan.links, "webui.db") == at_rest / "webui.db"


def test_a_database_that_is_a_link_inside_a_mounted_part_is_resolved(at_rest: Path, tmp_path: Path) -> None:
    store, real = tmp_path / "store", tmp_path / "real.sqlite3"
    (at_rest / "vector_db").rename(store)
    (store / "chroma.sqlite3").rename(real)
    (store / "chroma.sqlite3").symlink_to(real)
    plan = capture_plan(at_rest, tmp_path / "work", mounted=(("vector_db", store),))
    assert dict(plan.links)["vector_db/chroma.sqlite3"] == real
    assert "vector_db/chroma.sqlite3" in plan.mounted


def test_the_stage_lies_with_the_state_on_the_same_file_system(at_rest: Path, tmp_path: Path) -> None:
    assert work_dir_for(at_rest, tmp_path / "state", "home") == tmp_path / "state" / "work" / "home"


def test_the_stage_lies_in_the_data_directory_on_another_one(at_rest: Path) -> None:
    assert work_dir_for(at_rest, Path("/dev/shm/state"), "home") == at_rest / ".owui-vault"
    assert work_dir_for(at_rest, at_rest / "state", "home") == at_rest / ".owui-vault"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_the_stage_lies_where_links_are_possible(at_rest: Path, tmp_path: Path) -> None:
    """The same file system through another mount refuses links; where nobody may write it has to do all the same."""
    door = tmp_path / "door"
    door.mkdir()
    for options, expected in (("bind", door / ".owui-vault"), ("bind,ro", tmp_path / "state" / "work" / "home")):
        subprocess.run(["mount", "-o", options, at_rest, door], check=True)
        try:
            assert work_dir_for(door, tmp_path / "state", "home") == expected
        finally:
            subprocess.run(["umount", door], check=True)


@pytest.mark.parametrize("pattern", ["vector_db", "vector_db/", "vector_db/*", "vector_db/chroma.sqlite3"])
def test_a_vector_database_that_is_excluded_is_not_planned(tmp_path: Path, pattern: str) -> None:
    """Without its index nothing of it makes sense, and what was excluded is no damage."""
    (tmp_path / "vector_db").mkdir()
    for name in ("webui.db", "vector_db/chroma.sqlite3"):
        (tmp_path / name).write_bytes(b"")
    assert capture_plan(tmp_path, tmp_path / "work", exclude=[pattern]).databases == ("webui.db",)
    kept = capture_plan(tmp_path, tmp_path / "work", exclude=[pattern], include=["vector_db"])
    assert kept.databases == ("webui.db", "vector_db/chroma.sqlite3")
