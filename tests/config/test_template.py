"""The first configuration that `init --discover` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from owui_vault.config import TemplateValues, first_text, load_settings


def written(folder: Path, known: TemplateValues) -> Path:
    file = folder / "vault.yaml"
    file.write_text(first_text(known))
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("container", ["open-webui", "ai-chat-1", 'Odd ${NAME} "x"', "ümlaut"])
def test_it_can_be_read_as_it_is(tmp_path: Path, container: str) -> None:
    settings = load_settings(written(tmp_path, TemplateValues(container=container, found="an image\nwith a trick")), {})
    assert settings.instance
    assert settings.instance.container == container
    assert settings.repositories == ()


def test_what_is_commented_out_is_right_as_well(tmp_path: Path) -> None:
    text = first_text(TemplateValues(container="a", found="b"))
    begin = text.index("# repositories:")
    body = "\n".join(line.removeprefix("#").removeprefix(" ") for line in text[begin:].splitlines())
    file = tmp_path / "vault.yaml"
    file.write_text(text[:begin] + body)
    file.chmod(0o600)
    (repository,) = load_settings(file, {}).repositories
    assert repository.name == "first"
    assert repository.keep


def test_a_repository_that_was_named_is_written_out(tmp_path: Path) -> None:
    known = TemplateValues(container="a", found="b", repository="/mnt/r", engine="borg", passphrase_file=Path("/etc/p"))
    (repository,) = load_settings(written(tmp_path, known), {}).repositories
    assert repository.location == "/mnt/r"
    assert repository.engine.value == "borg"
