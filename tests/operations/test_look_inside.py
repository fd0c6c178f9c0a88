"""What a snapshot holds, and the content of one of its paths, on every engine alike."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import ConfigError, DataDirectory, Engine, Repository, Vault
from owui_vault.testing.instances.small import make_small_instance, use_small_instance

ODD = "a [b] *?\\ \n\udcff.txt"


class House:
    """An instance with an upload, an odd name and a link, and one snapshot of it."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.data = folder / "data"
        make_small_instance(self.data)
        use_small_instance(self.data, "hello")
        (self.data / "uploads" / ODD).write_bytes(b"odd")
        (self.data / "uploads" / "link").symlink_to("../webui.db")
        self.vault = Vault(DataDirectory(self.data), [Repository("nas", engine)], state_dir=folder / "state")
        self.state = folder / "state"
        self.taken = self.vault.snapshot().id
        # borg's own list replaces what is no UTF-8; what it fetches has the name as it is.
        self.listed_odd = ODD.replace("\udcff", "?") if engine.name == "borg" else ODD


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, make_engine: Callable[[Path], Engine]) -> House:
    folder = tmp_path_factory.mktemp("inside")
    engine = make_engine(folder / "repository")
    vault = Vault(None, [Repository("nas", engine)], state_dir=folder / "state")
    vault.initialize()
    return House(folder, engine)


def test_its_paths_are_listed(house: House) -> None:
    paths = {each.path: each for each in house.vault.entries("latest")}
    assert {
        "manifest.json",
        "RESTORE.txt",
        "data",
        "data/webui.db",
        "data/uploads",
        f"data/uploads/{house.listed_odd}",
    } <= set(paths)
    assert paths["data/uploads"].kind == "dir"
    assert paths["data/uploads/link"].kind == "symlink"
    assert paths[f"data/uploads/{house.listed_odd}"].size_bytes == 3
    assert list(paths) == sorted(paths, key=lambda each: each.split("/"))


@pytest.mark.doubled
@pytest.mark.parametrize("path", ["data/uploads", "/data/uploads/", "./data//uploads"])
def test_only_what_is_below_a_path_is_listed(house: House, path: str) -> None:
    listed = [each.path for each in house.vault.entries(house.taken, path)]
    assert listed[0] == "data/uploads"
    assert len(listed) == 4
    assert all(each.startswith("data/uploads/") for each in listed[1:])


def test_one_file_is_read(house: House) -> None:
    assert house.vault.read("latest", f"data/uploads/{ODD}") == b"odd"
    assert house.vault.read("latest", "data/webui.db").startswith(b"SQLite format 3")
    assert not any((house.state / "scratch").iterdir())


def test_a_directory_is_read_as_a_tar(house: House) -> None:
    content = house.vault.read("latest", "data/uploads")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = archive.getnames()
        assert f"data/uploads/{ODD}" in names
        assert archive.getmember("data/uploads/link").issym()
        odd = archive.extractfile(f"data/uploads/{ODD}")
        assert odd
        assert odd.read() == b"odd"
    listed = [each.path for each in house.vault.entries("latest", "data/uploads")]
    assert sorted(each.replace(ODD, house.listed_odd) for each in names) == sorted(listed)


def test_the_whole_of_it_is_a_tar(house: House) -> None:
    with tarfile.open(fileobj=io.BytesIO(house.vault.read("latest", ""))) as archive:
        assert {"manifest.json", "data/webui.db"} <= set(archive.getnames())


@pytest.mark.doubled
@pytest.mark.parametrize("path", ["data/nowhere", "data/webui.db/below", "../data", "data/uploads/link", "webui.db"])
def test_what_has_no_content_is_refused(house: House, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        house.vault.read("latest", path)
    assert "ls SNAPSHOT" in caught.value.hint
    assert ("Did you mean data/webui.db?" in caught.value.hint) is (path == "webui.db")
    assert not any((house.state / "scratch").iterdir())


@pytest.mark.doubled
def test_a_path_that_is_not_there_is_not_an_empty_list(house: House) -> None:
    with pytest.raises(ConfigError, match="holds no 'data/nowhere'"):
        house.vault.entries("latest", "data/nowhere")


def test_no_link_of_a_snapshot_leads_to_this_machines_files(house: House) -> None:
    """Below a link nothing is read: in a forged snapshot it could lead anywhere."""
    (house.data / "uploads" / "folder").symlink_to("..")
    house.vault.snapshot()
    with pytest.raises(ConfigError, match="holds no"):
        house.vault.read("latest", "data/uploads/folder/webui.db")
    (house.data / "uploads" / "folder").unlink()
