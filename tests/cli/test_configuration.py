"""Global options become settings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from owui_vault.cli import first_configuration
from owui_vault.cli.commands.inspect import Inspect
from owui_vault.cli.commands.snapshot import TakeSnapshot
from owui_vault.cli.commands.snapshots import ListSnapshots
from owui_vault.cli.configuration import settings_for
from owui_vault.cli.options import GlobalOptions
from owui_vault.cli.terminal import ask
from owui_vault.config import EngineName, InstanceSettings
from owui_vault.errors import ConfigError, SecretError
from owui_vault.model.secrets import EnvironmentSecret, FileSecret

ENVIRON = {"HOME": "/home/ada"}


def test_options_describe_one_repository_and_one_instance(tmp_path: Path) -> None:
    options = GlobalOptions(
        data_dir=Path("data"), repository="~/r", engine="borg", passphrase_file=Path("p")
    )  # fmt: skip
    settings = settings_for(options, ListSnapshots(), ENVIRON, tmp_path)
    assert settings.path is None
    assert settings.instance == InstanceSettings(data_dir=tmp_path / "data")
    (repository,) = settings.repositories
    assert repository.engine is EngineName.BORG
    assert repository.location == "/home/ada/r"
    assert repository.passphrase == FileSecret(path=tmp_path / "p")
    assert repository.environment == {}


def test_restic_is_meant_when_no_engine_is_named(tmp_path: Path) -> None:
    environ = {**ENVIRON, "OWUI_VAULT_PASSPHRASE": "x", "AWS_ACCESS_KEY_ID": "id", "B2_EMPTY": "", "OTHER": "o"}
    settings = settings_for(GlobalOptions(repository="s3:h/b"), ListSnapshots(), environ, tmp_path)
    (repository,) = settings.repositories
    assert settings.instance is None
    assert repository.engine is EngineName.RESTIC
    assert repository.location == "s3:h/b"
    assert repository.passphrase == EnvironmentSecret(variable="OWUI_VAULT_PASSPHRASE")
    assert repository.environment == {"AWS_ACCESS_KEY_ID": EnvironmentSecret(variable="AWS_ACCESS_KEY_ID")}


def test_a_data_directory_alone_is_enough_to_look_at_it(tmp_path: Path) -> None:
    settings = settings_for(GlobalOptions(data_dir=tmp_path), Inspect(), ENVIRON, tmp_path)
    assert settings.instance == InstanceSettings(data_dir=tmp_path)
    assert settings.repositories == ()


def test_options_win_over_a_file_that_happens_to_lie_here(tmp_path: Path) -> None:
    (tmp_path / "vault.yaml").write_text("broken: [")
    assert settings_for(GlobalOptions(data_dir=tmp_path), Inspect(), ENVIRON, tmp_path).path is None


def test_a_file_is_found_or_named(tmp_path: Path) -> None:
    file = tmp_path / "vault.yaml"
    file.write_text("instance: {data_dir: data}")
    file.chmod(0o600)
    for options in (GlobalOptions(), GlobalOptions(config=Path("vault.yaml")), GlobalOptions(config=file)):
        assert settings_for(options, Inspect(), ENVIRON, tmp_path).path == file


def test_a_file_of_this_directory_that_hides_another_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command typed here would work on another instance."""
    usual = tmp_path / "home/.config/owui-vault/vault.yaml"
    usual.parent.mkdir(parents=True)
    here = tmp_path / "here/vault.yaml"
    here.parent.mkdir()
    for file in (usual, here):
        file.write_text("instance: {data_dir: data}")
        file.chmod(0o600)
    environ = {"HOME": str(tmp_path / "home")}
    settings_for(GlobalOptions(), Inspect(), environ, here.parent)
    told = " ".join(capsys.readouterr().err.split())
    assert told == f"note: {here} is used here, and not {usual}"
    settings_for(GlobalOptions(config=here), Inspect(), environ, here.parent)
    settings_for(GlobalOptions(), Inspect(), environ, tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "claim"),
    [
        (GlobalOptions(), "there is no configuration; looked for "),
        (GlobalOptions(config=Path("gone.yaml")), "there is no configuration file "),
        (GlobalOptions(config=Path("c"), data_dir=Path("d")), "--config was given together with options"),
        (GlobalOptions(container="open-webui", data_dir=Path("d")), "takes the place of --data-dir"),
        (GlobalOptions(container=" "), "names one container"),
        (GlobalOptions(data_dir=Path("d"), engine="borg"), "describe a repository"),
        (GlobalOptions(passphrase_file=Path("p")), "describe a repository"),
        (GlobalOptions(repository=" "), "--repository is empty"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_told(tmp_path: Path, options: GlobalOptions, claim: str) -> None:
    with pytest.raises(ConfigError, match=claim) as caught:
        settings_for(options, TakeSnapshot(), ENVIRON, tmp_path)
    assert caught.value.hint


def test_inspect_alone_needs_no_configuration_and_looks_for_a_container(tmp_path: Path) -> None:
    settings = settings_for(GlobalOptions(), Inspect(), ENVIRON, tmp_path)
    assert settings.instance
    assert settings.instance.container == ""


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no terminal to ask at") as caught:
        settings_for(GlobalOptions(repository="r"), ListSnapshots(), ENVIRON, tmp_path)
    assert "OWUI_VAULT_PASSPHRASE" in caught.value.hint


def test_no_answer_at_the_terminal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-D, at the first question or at the second."""
    answers = iter(["correct horse"])

    def getpass(_prompt: str) -> str:
        for answer in answers:
            return answer
        raise EOFError

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", getpass)
    for twice in (True, False):
        with pytest.raises(SecretError, match="was not given"):
            ask("Passphrase of the repository", twice=twice)


class Terminal:
    """Somebody sits there."""

    def isatty(self) -> bool:
        return True


def test_a_container_is_not_looked_for_where_a_directory_was_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data-dir names a directory"):
        first_configuration.discover(GlobalOptions(data_dir=tmp_path), ENVIRON, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_new_configuration_hides_none_that_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`./vault.yaml` is read before the one in the home directory, so every command typed there would use it."""
    in_use = tmp_path / "home/.config/owui-vault/vault.yaml"
    in_use.parent.mkdir(parents=True)
    in_use.write_text("instance: {data_dir: /data}")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.setattr("owui_vault.assembly.discover", lambda *_: pytest.fail("nothing is looked for"))
    with pytest.raises(ConfigError, match=f"{here}/vault.yaml would hide {in_use}") as caught:
        first_configuration.discover(GlobalOptions(), {"HOME": str(tmp_path / "home")}, here)
    assert "--config FILE" in caught.value.hint
    assert not list(here.iterdir())


@pytest.mark.parametrize("file", ["/nonexistent/v.yaml", "/dev/null/v.yaml"])
def test_a_configuration_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    mount = SimpleNamespace(volume="data", source=None)
    found = SimpleNamespace(name="open-webui", image="ghcr.io/open-webui", mount=mount, data_dir="/app/backend/data")
    monkeypatch.setattr("owui_vault.assembly.discover", lambda _name, _environ: found)
    with pytest.raises(ConfigError, match=f"cannot write {file}") as caught:
        first_configuration.discover(GlobalOptions(config=Path(file)), ENVIRON, Path("/"))
    assert "--config" in caught.value.hint
