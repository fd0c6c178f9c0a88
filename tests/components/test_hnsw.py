"""A pickle is data, never code."""

from __future__ import annotations

import os
import pickle
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault.components.vectors import hnsw
from owui_vault.components.vectors.hnsw import read_index
from owui_vault.components.vectors.hnsw_main import stored_labels
from owui_vault.components.vectors.hnsw_pickle import SMALL_BYTES, load_plain

MARK = "/tmp/owui-vault-was-hit"


class Call:
    def __init__(self, function: object, *arguments: object) -> None:
        self.value = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.value


HOSTILE = {
    "system": pickle.dumps({"id_to_label": Call(os.system, f"touch {MARK}")}),
    "eval": pickle.dumps(Call(eval, f"open({MARK!r}, 'w')")),
    "old protocol": b"cos\nsystem\n(S'touch " + MARK.encode() + b"'\ntR.",
    "instance": b"(S'touch " + MARK.encode() + b"'\nios\nsystem\n.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.",
    "persistent": b"\x80\x03Pabc\n.",
    "extension": b"\x80\x02\x82\x01.",
    "nested module": b"\x80\x04\x8c\x40chromadb.segment.impl.vector.local_persistent_hnsw\x8c\x02os\x93.",
    "dotted": b"\x80\x04\x8c\x02os\x8c\x0bpath.exists\x93\x8c\x01x\x85R.",
    "class": pickle.dumps({"id_to_label": Path("/")}),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_pickle_is_refused_and_does_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=r"plain values|cut short or damaged"):
        load_plain(HOSTILE[name])
    assert not Path(MARK).exists()


def test_the_record_of_older_versions_is_read_without_its_class() -> None:
    values = {"total_elements_added": 2, "id_to_label": {"a": 1, "b": 2}}
    head = b"\x80\x04cchromadb.segment.impl.vector.local_persistent_hnsw\nPersistentData\n)\x81"
    data = head + pickle.dumps(values, protocol=4)[2:-1] + b"b."
    assert load_plain(data) == values


def test_the_stand_in_of_older_versions_cannot_be_called_into_harm() -> None:
    head = b"\x80\x04cchromadb.segment.impl.vector.local_persistent_hnsw\nPersistentData\n"
    for tail in (b")\x81(NNtb.", b")\x81S'x'\nb."):
        assert load_plain(head + tail) == {}
    for tail in (b"(S'x'\ntR.", b")R.", b".", b")\x81."):
        with pytest.raises(ValueError, match="is "):
            load_plain(head + tail)


@pytest.mark.parametrize("value", [[], 1, "x", None, ({},)])
def test_anything_but_a_dict_is_not_chromas(value: object) -> None:
    with pytest.raises(ValueError, match="not what Chroma writes"):
        load_plain(pickle.dumps(value))


def test_no_damage_to_a_pickle_escapes_as_another_error(seed: random.Random) -> None:
    data = pickle.dumps({"id_to_label": {f"id-{number}": number for number in range(50)}, "total_elements_added": 50})
    for _ in range(3000):
        broken = bytearray(data)
        for _ in range(seed.randrange(1, 4)):
            broken[seed.randrange(len(broken))] = seed.randrange(256)
        try:
            load_plain(bytes(broken[: seed.randrange(len(broken)) + 1]))
        except ValueError:
            continue


def test_no_damage_to_an_index_escapes_as_another_error(
    moments: Path, tmp_path: Path, seed: random.Random, index_folder: Callable[[Path], Path]
) -> None:
    (source,) = (moments / "a").glob("*/index_metadata.pickle")
    folder = tmp_path / "index"
    folder.mkdir()
    files = {path.name: path.read_bytes() for path in source.parent.iterdir()}
    for _ in range(150):
        name = seed.choice(sorted(files))
        broken = bytearray(files[name])
        broken[seed.randrange(min(120, len(broken)))] ^= 1 << seed.randrange(8)
        for each, content in {**files, name: bytes(broken[: seed.randrange(len(broken)) + 1])}.items():
            (folder / each).write_bytes(content)
        assert isinstance(read_index(folder).flaws, tuple)


def test_an_unreadable_index_is_a_flaw(tmp_path: Path) -> None:
    for name in ("header.bin", "data_level0.bin", "length.bin", "link_lists.bin"):
        (tmp_path / name).mkdir()
    assert "lacks" in read_index(tmp_path).flaws[0]


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_pickle_is_refused_by_the_short_process_too(name: str, tmp_path: Path) -> None:
    (tmp_path / "pickle").write_bytes(HOSTILE[name])
    with pytest.raises(ValueError, match=r"plain values|cut short or damaged"):
        stored_labels(tmp_path / "pickle")
    assert not Path(MARK).exists()


def make_index(folder: Path, count: int) -> Path:
    """An index of vectors with one number each, and no links above the ground."""
    folder.mkdir()
    header = struct.pack("<i6QiI3QdQ", 1, 0, count, count, 20, 12, 8, 0, 0, 16, 0, 0, 0.0, 0)
    (folder / "header.bin").write_bytes(header)
    (folder / "data_level0.bin").write_bytes(bytes(20 * count))
    for name in ("length.bin", "link_lists.bin"):
        (folder / name).write_bytes(bytes(4 * count))
    labels = {f"{number:08d}-0000-4000-8000-000000000000": number for number in range(count)}
    (folder / hnsw.PICKLE).write_bytes(pickle.dumps({"id_to_label": labels, "total_elements_added": count}))
    return folder


def test_a_large_index_is_understood_like_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_index(tmp_path / "index", 1000)
    known, unknown = (f"{number:08d}-0000-4000-8000-000000000000" for number in (999, 1000))
    for limit in (SMALL_BYTES, 0):
        monkeypatch.setattr(hnsw, "SMALL_BYTES", limit)
        index = read_index(folder)
        assert (index.flaws, index.elements) == ((), 1000)
        assert known in index.labels
        assert unknown not in index.labels
    (folder / hnsw.PICKLE).write_bytes((folder / hnsw.PICKLE).read_bytes()[:-9])
    (flaw,) = read_index(folder).flaws
    assert flaw.endswith("is cut short or damaged")
    (folder / "link_lists.bin").write_bytes(bytes(3990))
    assert "link_lists.bin of its index is cut short or from another moment" in read_index(folder).flaws


PEAK = """
import resource, sys
from pathlib import Path
from owui_vault.components.vectors import hnsw
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
index = hnsw.read_index(Path(sys.argv[1]))
assert index.flaws == () and "00000007-0000-4000-8000-000000000000" in index.labels
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_a_large_index_takes_no_memory_of_ours(tmp_path: Path) -> None:
    """Four hundred thousand vectors; their ids alone would take some 60 MB."""
    folder = make_index(tmp_path / "index", 400_000)
    assert (folder / hnsw.PICKLE).stat().st_size > SMALL_BYTES
    done = subprocess.run([sys.executable, "-c", PEAK, folder], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 12_000, "KiB"


@pytest.mark.parametrize("filler", [0, SMALL_BYTES])
def test_a_place_that_no_file_of_its_length_has_is_damage(tmp_path: Path, filler: int) -> None:
    """One flipped bit made the unpickler fill gigabytes with zeros, which took half a minute or the machine."""
    far = b"\x80\x04}X" + struct.pack("<I", filler) + b"x" * filler + b"r" + struct.pack("<I", 1 << 31) + b"0."
    (tmp_path / "pickle").write_bytes(far)
    began = time.monotonic()
    with pytest.raises(ValueError, match="cut short or damaged"):
        stored_labels(tmp_path / "pickle")
    if not filler:
        with pytest.raises(ValueError, match="cut short or damaged"):
            load_plain(far)
    assert time.monotonic() - began < 10
