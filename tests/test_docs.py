"""The documentation says what the program does: commands, options, names, errors, links, schemas."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import owui_vault
import pytest
from owui_vault import errors
from owui_vault.cli import registry
from owui_vault.model import Label, Manifest, ProofRecord
from tests.pages import DOCS, ROOT, blocks, name

COMMANDS = [each.name for each in registry.COMMANDS]


@functools.cache
def helped(*arguments: str) -> str:
    environment = os.environ | {"COLUMNS": "240", "TERM": "dumb", "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "owui_vault", *arguments, "--help"]
    return subprocess.check_output(argv, env=environment, text=True, cwd="/")


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_each_of_its_options_is_documented(command: str) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^### {command}\n(.*?)^##", page, re.MULTILINE | re.DOTALL)
    assert options(helped(command)) - {"--help"} == options(section)


def test_no_command_is_missing_in_the_documentation() -> None:
    listed = set(re.findall(r"^\W*([a-z]+) {2,}", helped().split("ommands", 1)[1], re.MULTILINE))
    assert listed == set(COMMANDS)


def test_every_global_option_is_documented() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert options(helped()) - {"--help", "--install-completion", "--show-completion"} <= options(page)


def test_every_public_name_is_documented() -> None:
    pages = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("python.md", "troubleshooting.md"))
    documented = set(re.findall(r"`(\w+)`", pages)) | set(
        re.findall(r"\w+", "".join(block.text for block in blocks(ROOT / "docs/python.md", "python")))
    )
    assert set(owui_vault.__all__) - documented == set()


def test_every_error_has_its_line_in_troubleshooting() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:\**(\d+)\** \|)?", page, re.MULTILINE))
    kinds = {
        kind.__name__: kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.VaultError)
    }
    assert set(rows) == set(kinds) - {"VaultError"}
    for kind, code in rows.items():
        assert kinds[kind].exit_code == int(code or 2), kind


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        there = path.parent / file if file else path
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings], (
                target
            )


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"({path.name})" not in index] == ["README.md"]


def test_every_page_is_in_the_site() -> None:
    named = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.slow
@pytest.mark.thorough
def test_the_site_is_built_with_all_its_links_and_fetches_nothing_from_elsewhere() -> None:
    """mkdocs checks the links, anchors included, and takes a wrong one for an error."""
    done = subprocess.run(["make", "docs"], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((ROOT / "build" / "site").glob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").glob("*.md"))), "and one for what is not there"
    loaded_with_it = re.compile(r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
    assert {match[0] for page in pages for match in loaded_with_it.finditer(page.read_text(encoding="utf-8"))} == set()


def test_every_field_of_manifest_and_label_is_documented() -> None:
    page = (ROOT / "docs" / "manifest.md").read_text(encoding="utf-8")
    names = {field.name for kind in (Manifest, Label, ProofRecord) for field in fields(kind)}
    assert {each for each in names if f"`{each}`" not in page} == set()


def loaded(name: str) -> ModuleType:
    """A program in tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_the_fields_of_the_reports_are_those_of_the_values() -> None:
    """`make schemas` writes the page."""
    tool = loaded("write_reports")
    page = str(tool.page())
    assert (ROOT / "docs" / "reports.md").read_text(encoding="utf-8") == page
    for kind in ("SnapshotReport", "SnapshotList", "RestoreReport", "RunReport", "ConfigurationReport", "Outcome"):
        assert f"\n## {kind}\n" in page


def test_the_schemas_are_those_of_the_values() -> None:
    """Compared without titles and descriptions, which depend on pydantic's version."""
    tool = loaded("write_schemas")
    for kind in tool.TITLES:
        assert bare(json.loads((ROOT / "docs" / f"{kind}.schema.json").read_text())) == bare(
            json.loads(tool.schema(kind))
        )


def bare(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: bare(each) for key, each in value.items() if key == "properties" or key not in {"title", "description"}
        }
    return [bare(each) for each in value] if isinstance(value, list) else value


def test_the_changelog_has_its_sections_in_order() -> None:
    order = ["Security", "Removed", "Deprecated", "Added", "Changed", "Fixed"]
    unreleased = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("## [Unreleased]")[1].split("\n## ")[0]
    sections = re.findall(r"^### (.*)$", unreleased, re.MULTILINE)
    assert sections == [section for section in order if section in sections]


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in [*DOCS, ROOT / "tools" / "set-up"]:
        assert set(re.findall(r"[`$] ?make\s+([a-z0-9-]+)", path.read_text(encoding="utf-8"))) <= targets, path


def test_every_variable_that_changes_the_tests_is_documented() -> None:
    """Whoever runs one that failed, or wants nothing skipped, should not have to read conftest.py."""
    files = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("tools/*"), ROOT / ".ci" / "run", ROOT / "Makefile"]
    told = "".join(path.read_text(encoding="utf-8") for path in files if path.is_file() and path != Path(__file__))
    read = set(re.findall(r"\bOWUI_VAULT_[A-Z0-9]\w*", told)) | {"REQUIRE"}
    programs = set(re.findall(r"\bOWUI_VAULT_[A-Z]+", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")))
    documented = set(
        re.findall(r"^\| `(\w+)=", (ROOT / "docs" / "testing.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert read - programs == documented
