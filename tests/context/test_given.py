"""What a caller of the library may write, and what it is told of the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from owui_vault import (
    BorgEngine,
    Component,
    ConfigError,
    DataDirectory,
    Progress,
    Repository,
    ResticEngine,
    RetentionPolicy,
    Secret,
    Vault,
    VerifyReport,
)
from owui_vault.testing import DirectoryEngine
from owui_vault.testing.instances.small import make_small_instance


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """With one snapshot, made with text wherever text is natural."""
    folder = tmp_path_factory.mktemp("vault")
    make_small_instance(folder / "data")
    engine = DirectoryEngine(folder / "repository", Secret("x"))
    data_dir = DataDirectory(str(folder / "data"))  # type: ignore[arg-type]  # as a caller without types does
    made = Vault(data_dir, [Repository("nas", engine)], state_dir=folder / "state")
    made.initialize("nas")
    made.snapshot(to="nas", tags="by-hand", quiesce="live")
    return made


def test_text_is_taken_where_it_is_natural(vault: Vault, tmp_path: Path) -> None:
    (snapshot,) = vault.snapshots("nas")
    assert snapshot.label
    assert snapshot.label.tags == ("by-hand",)
    restored = vault.restore("latest", str(tmp_path / "copy"), components=["database", Component.DATABASE])
    assert restored.data_dir == tmp_path / "copy" / "data"
    assert vault.restore("latest", tmp_path / "part", "database").components == (Component.DATABASE,)
    assert vault.plan_replacement("latest", components="database").components == (Component.DATABASE,)
    assert vault.status("26h").verdict == vault.status(timedelta(hours=26)).verdict
    assert isinstance(vault.verify(read_data=1), VerifyReport)
    assert ResticEngine(tmp_path / "r", Secret("x")).location == BorgEngine(tmp_path / "r", Secret("x")).location


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (lambda v: v.snapshot(quiesce="pauze"), "quiesce: 'pauze' is no Quiesce", "Did you mean 'pause'?"),
        (lambda v: v.snapshot(tags=[3]), "tags: 3 is no text", "in a list"),
        (lambda v: v.snapshot(tags=3), "tags: 3 is no text", "in a list"),
        (lambda v: v.restore("latest", "c", ["upload"]), "components: 'upload'", "Did you mean 'uploads'?"),
        (lambda v: v.restore("latest", None), "target: None is no path", "pathlib.Path"),
        (lambda v: v.restore(None, "c"), "None is no snapshot", "`latest`"),
        (lambda v: v.manifest(None), "None is no snapshot", "`latest`"),
        (lambda v: v.verify(read_data=10), "read_data is a share from 0 to 1, not 10", "0.1 to read a tenth"),
        (lambda v: v.verify(read_data=-1), "not -1", "everything"),
        (lambda v: v.verify(read_data="5%"), "not '5%'", "everything"),
        (lambda v: v.verify(read_data=float("nan")), "not nan", "everything"),
        (lambda v: v.status("soon"), "max_age must be a duration", "26h"),
        (lambda v: v.status(26), "max_age must be a timedelta", "26h"),
        (lambda v: v.history("x"), "last is a number, not 'x'", "10"),
        (lambda v: v.plan_prune("nas"), "'nas' is no RetentionPolicy", "RetentionPolicy"),
        (lambda v: v.prune("nas"), "'nas' is no PrunePlan", "`plan_prune`"),
        (lambda v: v.replace("latest"), "'latest' is no ReplacementPlan", "`plan_replacement`"),
        (lambda v: v.replicate("nas"), "'nas' is no ReplicationPlan", "`plan_replication`"),
        (lambda v: v.snapshots(3), "repository: 3 is no text", "list"),
        (lambda v: v.hold("freeze").__enter__(), "mode: 'freeze' is no Quiesce", "Known: auto, live, pause, stop"),
        (lambda v: v.report(3), "file: 3 is no path", "pathlib.Path"),
        (lambda _: RetentionPolicy(daily=-1), "never negative", "keeps nothing"),
        (lambda _: RetentionPolicy(daily="7"), "is a number", "keeps nothing"),  # type: ignore[arg-type]
        (lambda _: ResticEngine("/r", "word"), "is given as Secret", "Secret("),  # type: ignore[arg-type]
        (lambda _: BorgEngine("/r", "word"), "is given as Secret", "Secret("),  # type: ignore[arg-type]
        (lambda _: BorgEngine(3, Secret("x")), "no location", "pathlib.Path"),  # type: ignore[arg-type]
        (lambda _: DataDirectory(3), "the data directory: 3 is no path", "pathlib.Path"),  # type: ignore[arg-type]
        (lambda _: Vault("/data", []), "'/data' is no instance", "DataDirectory(path)"),  # type: ignore[arg-type]
        (lambda _: Vault(None, ["nas"]), "Repository(name, engine)", "list"),  # type: ignore[list-item]
    ],
)
def test_what_is_not_meant_is_a_configuration_error_with_the_way_out(
    vault: Vault, call: Callable[[Any], object], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        call(vault)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "word" not in str(caught.value)


def test_every_progress_of_an_engine_names_its_repository(vault: Vault) -> None:
    heard: list[Progress] = []
    vault.snapshot(progress=heard.append)
    vault.verify(progress=heard.append)
    assert {each.repository for each in heard if each.step.value in ("store", "fetch", "verify")} == {"nas"}
