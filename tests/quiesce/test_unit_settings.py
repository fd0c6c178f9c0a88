"""A stopped instance whose settings stand in its systemd unit alone: where its database lies is known all the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import UnsupportedInstanceError
from owui_vault.model import Outcome
from owui_vault.quiesce import systemctl
from owui_vault.quiesce.systemd import UnitQuiescer
from owui_vault.quiesce.unit_settings import launch_of
from tests.operations.house import House

UNIT = "open-webui.service"
POSTGRES = "postgresql://webui:p%40ss@db.example.org/webui"
COMMAND = "{{ path={0} ; argv[]={1} ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) }}"
STOPPED = {
    "Id": UNIT,
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "SubState": "dead",
    "WorkingDirectory": "[not set]",
    "ExecStart": COMMAND.format("/opt/venv/bin/open-webui", "/opt/venv/bin/open-webui serve"),
}


class Site(House):
    """An instance that does not run, and a stand-in for systemd that tells how it would be started."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        program = folder / "bin" / "systemctl"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\ncd {folder}\nshift 2\nif test "$1" = show-environment; then cat manager; fi\n'
            f'if test "$1" = show; then cat {UNIT}.show; fi\n'
        )
        program.chmod(0o755)
        (folder / "manager").write_text("LANG=C.UTF-8\n")
        self.tells()
        self.unit_vault = self.vault_at(self.data_dir, UnitQuiescer(UNIT))

    def tells(self, *more: str, **properties: str) -> None:
        lines = [f"{name}={value}" for name, value in (STOPPED | properties).items()]
        (self.folder / f"{UNIT}.show").write_text("".join(f"{line}\n" for line in (*lines, *more)))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setitem(systemctl._ENVIRONMENT, "PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return Site(tmp_path)


def in_environment(site: Site) -> None:
    site.tells(f'Environment=PORT=8080 "DATABASE_URL={POSTGRES}" "WEBUI_NAME=with \\"blanks\\""')


def in_a_file(site: Site) -> None:
    """The second of two, which wins over the unit's own."""
    first, second = site.folder / "first", site.folder / "second"
    first.write_text("PORT=8080\n")
    second.write_text(f"# where it lies\nDATABASE_URL='{POSTGRES}'\n")
    site.tells(
        "Environment=DATABASE_URL=sqlite:////elsewhere/webui.db",
        f"EnvironmentFiles={first} (ignore_errors=no)",
        f"EnvironmentFiles={second} (ignore_errors=yes)",
        f"EnvironmentFiles={site.folder / 'absent'} (ignore_errors=yes)",
    )


def in_a_pattern(site: Site) -> None:
    (site.folder / "settings.d").mkdir()
    (site.folder / "settings.d" / "database.env").write_text(f"DATABASE_URL={POSTGRES}\n")
    site.tells(f"EnvironmentFiles={site.folder / 'settings.d' / '*.env'} (ignore_errors=no)")


def in_parts(site: Site) -> None:
    parts = {"TYPE": "postgresql", "HOST": "db.example.org", "PORT": "5432", "NAME": "webui", "USER": "webui"}
    site.tells("Environment=" + " ".join(f"DATABASE_{name}={value}" for name, value in parts.items()))


def in_the_command(site: Site) -> None:
    site.tells(ExecStart=COMMAND.format("/usr/bin/env", f"/usr/bin/env DATABASE_URL={POSTGRES} open-webui serve"))


def in_a_settings_file(site: Site) -> None:
    work = site.folder / "work"
    work.mkdir()
    (work / ".env").write_text(f"DATABASE_URL={POSTGRES}\n")
    site.tells(WorkingDirectory=os.fspath(work))


def in_the_manager(site: Site) -> None:
    (site.folder / "manager").write_text(f"LANG=C.UTF-8\nDATABASE_URL={POSTGRES}\n")


@pytest.mark.parametrize(
    "told",
    [in_environment, in_a_file, in_a_pattern, in_parts, in_the_command, in_a_settings_file, in_the_manager],
)
def test_a_database_elsewhere_is_no_stale_one_here(site: Site, told: Callable[[Site], None]) -> None:
    told(site)
    with pytest.raises(UnsupportedInstanceError, match=r"postgresql on db\.example\.org") as caught:
        site.unit_vault.snapshot()
    assert "p%40ss" not in str(caught.value)
    assert "postgresql on db.example.org" in " ".join(site.unit_vault.inspect().warnings)


def test_a_database_named_by_a_path_of_its_own_folder_is_this_one(site: Site) -> None:
    site.tells("Environment=DATABASE_URL=sqlite:///data/webui.db", WorkingDirectory=os.fspath(site.folder))
    report = site.unit_vault.snapshot()
    assert report.outcome is Outcome.COMPLETE
    site.tells("Environment=DATABASE_URL=sqlite:///data/webui.db", WorkingDirectory=os.fspath(site.folder / "other"))
    (site.folder / "other" / "data").mkdir(parents=True)
    (site.folder / "other" / "data" / "webui.db").touch()
    with pytest.raises(UnsupportedInstanceError):
        site.unit_vault.snapshot()


def test_settings_and_key_of_the_unit_go_into_the_snapshot(site: Site) -> None:
    site.tells("Environment=WEBUI_SECRET_KEY=of-the-unit WEBUI_NAME=ours")
    tree = site.unit_vault.restore(site.unit_vault.snapshot().id, site.folder / "out").target
    assert (tree / "outside" / "webui_secret_key").read_text() == "of-the-unit"
    assert "WEBUI_NAME=ours\n" in (tree / "outside" / "environment").read_text()


def test_a_unit_that_systemd_does_not_know_is_said(site: Site) -> None:
    site.tells(LoadState="not-found")
    assert any("systemd knows no such unit" in each for each in site.unit_vault.inspect().warnings)


def test_settings_that_cannot_be_known_are_said(site: Site) -> None:
    script = site.folder / "start.sh"
    script.write_text("#!/usr/bin/env bash\nexport DATABASE_URL=$(vault read db)\nexec open-webui serve\n")
    for argv in (f"{script}", f"/bin/sh {script}"):
        site.tells(ExecStart=COMMAND.format(argv.split()[0], argv))
        (told,) = [each for each in site.unit_vault.snapshot().warnings if "DATABASE_URL" in each]
        assert f"starts a script, {script}: the settings it makes are unknown" in told


@pytest.mark.root
def test_a_file_of_settings_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.env"
    secret.touch(0o600)
    answers = {"show": ["LoadState=loaded", f"EnvironmentFiles={secret} (ignore_errors=no)"], "show-environment": []}
    monkeypatch.setattr(systemctl, "lines", lambda verb, *_: answers[verb])
    assert launch_of(UNIT).unknown == ()
    os.seteuid(65534)
    try:
        launch = launch_of(UNIT)
    finally:
        os.seteuid(0)
    assert launch.unknown == (f"{secret}, settings of unit {UNIT}, cannot be read here",)
