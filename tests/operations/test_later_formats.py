"""What a later version wrote is never taken for complete, prunable or missing: the version to use is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from owui_vault import (
    DataDirectory,
    LaterFormatError,
    Repository,
    RetentionPolicy,
    Secret,
    Snapshot,
    Vault,
)
from owui_vault.context.state import StateDirectory
from owui_vault.engines.common import labels
from owui_vault.model import Label
from owui_vault.ports import Call
from owui_vault.testing.engines.directory import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance, use_small_instance
from tests.operations.conftest import MakeEngine
from tests.operations.house import QUICK


class Site:
    """An instance whose last snapshot was taken by a later version, which was then taken away."""

    def __init__(self, folder: Path, make_engine: MakeEngine, data_dir: Path) -> None:
        self.folder = folder
        self.engine = make_engine(folder / "repository")
        self.repository = Repository("nas", self.engine, RetentionPolicy(last=1))
        self.vault = Vault(DataDirectory(data_dir), [self.repository], state_dir=folder / "state", limits=QUICK)
        self.vault.initialize()
        self.known = self.vault.snapshot().id
        self.later = self.store_later()

    def store_later(self, **changes: object) -> Snapshot:
        """The newest snapshot once more, as a version that writes format 3 would store it."""
        (newest, *_) = self.vault.snapshots()
        assert newest.label
        tree = self.folder / "restored"
        if not tree.exists():
            self.vault.restore(newest, tree)
            (tree / "manifest.json").write_text(json.dumps({"format": 3, "id": "3ade0003", "made": "of new things"}))
        wanted = {"id": "3ade0003", "sequence": newest.sequence + 1, "version": "7.1.0", "format": 3} | changes
        folder = self.folder / "calls"
        folder.mkdir(mode=0o700, exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(labels, "LABEL_FORMAT", 3)
            label: Label = replace(newest.label, **wanted)  # type: ignore[arg-type]  # a misspelt name raises
            stored = self.engine.store(tree, label, Call(folder=folder)).snapshot
        return replace(stored, repository="nas")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    make_small_instance(tmp_path / "data")
    use_small_instance(tmp_path / "data", "first")
    return tmp_path / "data"


@pytest.fixture
def site(tmp_path: Path, make_engine: MakeEngine, small: Path) -> Site:
    return Site(tmp_path, make_engine, small)


@pytest.mark.doubled
def test_it_is_named_with_the_version_to_use_and_never_pruned(site: Site, small: Path) -> None:
    for wanted in ("latest", "2100-01-01", "3ade0003", "3ade", site.later.engine_id, site.later):
        with pytest.raises(LaterFormatError, match="label of format 3, and this version reads up to 2") as caught:
            site.vault.manifest(wanted)
        assert "Install owui_vault 7.1.0 or later" in caught.value.hint
        assert caught.value.exit_code == 2
    assert site.vault.manifest(site.known).id == site.known
    listed = site.vault.snapshots()
    assert [each.id for each in listed] == [site.known]
    assert ["format 3" in each and "7.1.0" in each for each in listed.warnings] == [True]
    (foreign,) = [each for each in site.vault.snapshots(everything=True) if not each.label]
    assert (foreign.later and foreign.later.format, foreign.instance, foreign.is_restore_point) == (
        3,
        "open-webui",
        False,
    )
    use_small_instance(small, "after the way back")
    report = site.vault.snapshot()
    assert report.manifest
    assert report.manifest.sequence == site.later.sequence + 1
    assert any("7.1.0" in each for each in report.warnings)
    site.vault.prune(site.vault.plan_prune())
    assert {each.id for each in site.vault.snapshots(everything=True)} == {report.id, "3ade0003"}


@pytest.fixture
def quick(tmp_path: Path, small: Path) -> Site:
    return Site(tmp_path, lambda folder: DirectoryEngine(folder, Secret("x")), small)


def test_a_date_before_it_means_what_it_meant(quick: Site) -> None:
    (newest,) = quick.vault.snapshots()
    quick.vault.manifest(newest.instant.isoformat())
    with pytest.raises(LaterFormatError) as caught:
        quick.vault.manifest("latest")
    assert f"give its id: {newest.id}" in caught.value.hint


def test_an_id_that_a_later_version_has_relabelled_is_not_believed(quick: Site) -> None:
    quick.store_later(id=quick.known)
    with pytest.raises(LaterFormatError):
        quick.vault.manifest(quick.known)


def test_a_newest_one_that_a_later_version_stored_is_no_repository_put_back(quick: Site) -> None:
    """This machine remembers its number, and must not miss it."""
    (newest,) = quick.vault.snapshots()
    state = StateDirectory(quick.folder / "state")
    folder = state.repository_folder("nas", quick.engine.location)
    (series, last), *_ = state.repository_memory(folder).last
    later = replace(last, id="3ade0003", engine_id=quick.later.engine_id, sequence=newest.sequence + 1)
    state.remember_stored(folder, series, later)
    assert not any("put back" in each for each in quick.vault.snapshots().warnings)
    quick.vault.plan_prune()


def test_a_manifest_of_a_later_format_is_no_failed_verification(quick: Site) -> None:
    """A newer manifest under a label that can be read: nothing is known, and nothing is noted."""
    stored = quick.store_later(id="3ade0004", format=2)
    with pytest.raises(LaterFormatError, match=r"manifest\.json has format 3, and this version reads up to 2"):
        quick.vault.verify(stored.id)
    assert StateDirectory(quick.folder / "state").ledger("open-webui") == ()
    with pytest.raises(LaterFormatError):
        quick.vault.restore(stored.id, quick.folder / "elsewhere")
