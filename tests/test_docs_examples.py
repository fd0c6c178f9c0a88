"""What the documentation shows works: commands, configurations, programs, the README's tour."""

from __future__ import annotations

import inspect
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from owui_vault import Quiesce, Vault
from owui_vault.cli.grammar import parse
from owui_vault.cli.request import Invocation
from owui_vault.config import load_settings
from owui_vault.config.document import (
    InstancePart,
    KeepPart,
    LimitsPart,
    PlanPart,
    RepositoryPart,
    VaultPart,
)
from owui_vault.config.notify_part import HeartbeatPart, NotificationPart
from owui_vault.config.secret_part import SOURCES, Part
from owui_vault.config.settings import LimitSettings
from owui_vault.config.values import positive_duration
from owui_vault.model import Secret
from owui_vault.secrets.sealed import seal
from tests.pages import DOCS, ROOT, Block, blocks, name, our_calls, shell_lines

CONFIGURATION = ROOT / "docs" / "configuration.md"
REPOSITORY = {"engine": "restic", "location": "/mnt/nas", "passphrase": {"env": "PASSPHRASE"}}


def test_every_command_shown_is_understood() -> None:
    calls = list(our_calls())
    assert len({page for page, _ in calls}) > 7
    for page, arguments in calls:
        understood = parse(arguments)  # raises with the reason
        assert isinstance(understood, Invocation), (name(page), arguments)


def every(language: str) -> list[Any]:
    found = [block for page in DOCS for block in blocks(page, language)]
    return [pytest.param(block, id=f"{name(block.page)}:{number}") for number, block in enumerate(found)]


@pytest.mark.parametrize("block", every("yaml"))
def test_every_configuration_shown_is_valid(block: Block, tmp_path: Path) -> None:
    shown = yaml.safe_load(block.text)
    assert isinstance(shown, dict)
    if "services" in shown:  # Compose's, checked by Compose itself
        return
    if set(shown) == {"keep"}:
        shown = {"repositories": {"nas": REPOSITORY | shown}}
    path = tmp_path / "vault.yaml"
    path.write_text(yaml.safe_dump(shown, sort_keys=False))
    path.chmod(0o600)
    assert load_settings(path, {"HOME": "/root"})


@pytest.mark.parametrize("block", every("json"))
def test_every_json_shown_is_json(block: Block) -> None:
    assert json.loads(block.text)


def test_no_block_is_of_a_language_that_nobody_checks() -> None:
    """A block that says nothing, or something new, would escape every test here."""
    known = {"console", "sh", "text", "ini", "yaml", "json", "python"}
    assert not [(name(page), block.language) for page in DOCS for block in blocks(page) if block.language not in known]


def rows(heading: str) -> dict[str, tuple[str, str]]:
    """The tables below a heading of the page on the configuration: key → the other cells."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| (`.*?) \|(.*)\|(.*)\|$", section, re.MULTILINE)
    return {key: (first.strip(), last.strip()) for keys, first, last in cells for key in re.findall(r"`(\w+)`", keys)}


@pytest.mark.parametrize(
    ("heading", "part"),
    [
        ("`instance`", InstancePart),
        ("`repositories`", RepositoryPart),
        ("`plans`", PlanPart),
        ("`limits`", LimitsPart),
        ("`notifications`", NotificationPart),
        ("`heartbeat`", HeartbeatPart),
    ],
)
def test_every_key_of_the_configuration_is_explained(heading: str, part: type[Part]) -> None:
    assert set(rows(heading)) == set(part.model_fields)


def test_every_part_of_the_configuration_has_its_section() -> None:
    headings = re.findall(r"^## `(\w+)`$", CONFIGURATION.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(headings) == set(VaultPart.model_fields)


def test_every_rule_of_keep_and_every_source_of_a_secret_is_explained() -> None:
    text = CONFIGURATION.read_text(encoding="utf-8")
    rules = re.findall(r"^\| (`(?:last|hourly|within|tags)\b.*?) \|", text, re.MULTILINE)
    assert set(re.findall(r"(\w+)(?=[`:])", re.sub(r": \[?\w+\]?`", ":`", " ".join(rules)))) == set(
        KeepPart.model_fields
    )
    assert re.findall(r"^\| `\{(\w+):", text, re.MULTILINE) == list(SOURCES)


def test_defaults_are_those_of_the_program() -> None:
    limits = LimitSettings()
    for each in fields(LimitSettings):
        said = rows("`limits`")[each.name][0].strip("`")
        shown = None if said == "none" else int(said) if said.isdigit() else positive_duration(said)
        assert getattr(limits, each.name) == shown, each.name
    for key, (said, _) in rows("`instance`").items():
        default = InstancePart.model_fields[key].default
        assert said.strip("`") == default or (not default and not said.startswith("`")), key


WATCHED = {"progress", "cancel"}


def test_every_operation_is_shown_with_its_parameters_and_defaults() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^\| `vault\.(\w+)(\(.*?\))` \|", page, re.MULTILINE))
    operations = {key: each for key, each in vars(Vault).items() if inspect.isfunction(each) and key[0] != "_"}
    assert shown == {key: as_shown(each) for key, each in operations.items()}
    (sentence,) = re.findall(r"^(.*) also take `progress` and `cancel`", page, re.MULTILINE)
    watched = {key for key, each in operations.items() if set(inspect.signature(each).parameters) >= WATCHED}
    assert set(re.findall(r"`(\w+)`", sentence)) == watched


def as_shown(operation: Callable[..., Any]) -> str:
    """Its parameters with their defaults, but for those that all long operations have."""
    told = inspect.signature(operation)
    kept = [each for each in told.parameters.values() if each.name not in WATCHED | {"self"}]
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in kept]
    text = str(told.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    as_written = {"'latest'": '"latest"', "''": '""', repr(Quiesce.PAUSE): "Quiesce.PAUSE"}
    as_written[repr(timedelta(minutes=1))] = "timedelta(minutes=1)"
    return replaced(text, as_written)


@pytest.mark.slow
def test_every_program_shown_is_typed_as_it_says(tmp_path: Path) -> None:
    """mypy reads the blocks of a page as one program, so that a later one may go on with what an earlier one made."""
    programs = []
    for page in DOCS:
        if shown := blocks(page, "python"):
            programs.append(tmp_path / f"{page.stem.lower().replace('-', '_')}.py")
            programs[-1].write_text("\n\n".join(block.text for block in shown))
    assert len(programs) > 2
    argv = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    argv += ["--cache-dir", str(ROOT / ".cache" / "mypy-docs")]
    done = subprocess.run([*argv, *map(str, programs)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.thorough
def test_the_suites_shown_run_and_pass(tmp_path: Path) -> None:
    (shown,) = [block.text for block in blocks(ROOT / "docs/python.md", "python") if "EngineSuite" in block.text]
    (tmp_path / "test_mine.py").write_text(shown)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 50


def test_a_sealed_file_opens_with_the_program_shown(tmp_path: Path) -> None:
    """With nothing of ours, as the page promises."""
    seal(tmp_path / "keys.sealed", {"nas": Secret("correct horse")}, Secret("the key"))
    (shown,) = blocks(ROOT / "docs" / "sealed-file.md", "python")
    assert "owui_vault" not in shown.text
    assert typed_blind([sys.executable, "-c", shown.text], "the key", tmp_path).endswith("correct horse")


def typed_blind(argv: list[str], answer: str, folder: Path) -> str:
    """What a program prints that asks for a passphrase on its terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execv(argv[0], argv)
    printed = b""
    with os.fdopen(terminal, "r+b", buffering=0) as screen:
        while not printed.endswith(b"key: "):
            printed += screen.read(1)
        screen.write(f"{answer}\n".encode())
        while True:
            try:
                more = screen.read(1024)
            except OSError:  # Linux says EIO where the other side has gone
                break
            if not more:
                break
            printed += more
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, printed
    return printed.decode().strip()


@pytest.fixture
def places(tmp_path: Path, small_instance: Callable[[Path], Path]) -> Mapping[str, str]:
    """Where things of the pages lie in a test."""
    (tmp_path / "etc").mkdir()
    return {
        "/opt/open-webui": str(small_instance(tmp_path / "open-webui")),
        "/mnt/nas/open-webui": str(tmp_path / "repository"),
        "/etc/owui-vault": str(tmp_path / "etc" / "owui-vault"),
        "/srv/copy": str(tmp_path / "copy"),
    }


def replaced(text: str, places: Mapping[str, str]) -> str:
    for old, new in places.items():
        text = text.replace(old, new)
    return text


def typed(line: str, tmp_path: Path) -> str:
    """Type it into a shell; what it prints."""
    program = f"{shlex.quote(sys.executable)} -m owui_vault"
    words = f"{program}{line.removeprefix('owui-vault')}" if line.startswith("owui-vault ") else line
    environment = os.environ | {"OWUI_VAULT_CONFIG": str(tmp_path / "etc" / "owui-vault" / "vault.yaml")}
    done = subprocess.run(
        ["bash", "-ec", words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout + done.stderr


def typed_until_configured(lines: list[str], configuration: str, places: Mapping[str, str], tmp_path: Path) -> str:
    """Type the lines; before the first call of ours, write the configuration where the page says it goes."""
    said = ""
    file = tmp_path / "etc" / "owui-vault" / "vault.yaml"
    for line in lines:
        if line.startswith("owui-vault ") and not file.exists():
            shown = yaml.safe_load(replaced(configuration, places)) | {"state_dir": str(tmp_path / "state")}
            file.write_text(yaml.safe_dump(shown))
        said += typed(replaced(line, places), tmp_path)
    return said


@pytest.mark.slow
@pytest.mark.thorough
def test_the_tour_of_the_readme_works(tmp_path: Path, own_restic: Path, places: Mapping[str, str]) -> None:
    """Every line of the tour after the installation, in order, on the real small instance; only the places differ."""
    readme = ROOT / "README.md"
    assert "`/etc/owui-vault/vault.yaml`" in readme.read_text(encoding="utf-8")
    tour = blocks(readme, "console")[2:]
    assert "pip install" in tour[0].text
    lines = [line for block in tour[1:] for line in shell_lines(block)]
    shown = {line.split()[1] for line in lines if line.startswith("owui-vault ")}
    assert shown >= {"inspect", "init", "snapshot", "snapshots", "show", "restore", "verify", "prune"}
    (configuration,) = [block.text for block in blocks(readme, "yaml") if "repositories" in block.text]
    said = typed_until_configured(lines, configuration, places, tmp_path)
    assert "is open to" not in said
    assert (tmp_path / "copy" / "data" / "webui.db").is_file()
    assert (tmp_path / "etc" / "owui-vault" / "nas.pass").stat().st_mode & 0o777 == 0o600
    (program,) = blocks(readme, "python")
    second = dict(places) | {"/srv/copy": str(tmp_path / "second-copy")}
    text = replaced(program.text, second)
    subprocess.run([sys.executable, "-c", text], cwd=tmp_path / "etc" / "owui-vault", check=True)
    assert (tmp_path / "second-copy" / "data" / "webui.db").is_file()


@pytest.mark.slow
@pytest.mark.thorough
def test_the_first_snapshot_of_the_installation_page_works(
    tmp_path: Path, own_restic: Path, places: Mapping[str, str]
) -> None:
    page = ROOT / "docs" / "install.md"
    lines = [line for block in blocks(page, "console") for line in shell_lines(block)]
    lines = [
        line for line in lines if not line.startswith(("apt ", "python3 -m venv", "/opt/owui-vault/bin/pip ", "ln -s "))
    ]
    configuration = blocks(CONFIGURATION, "yaml")[0].text
    typed_until_configured(lines, configuration, places, tmp_path)  # INCOMPLETE would end with another status than 0
    assert len(list((tmp_path / "repository" / "snapshots").iterdir())) == 1
