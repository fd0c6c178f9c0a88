"""Who is told, as the configuration says it: also where the rest of it is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from owui_vault import ConfigError, EventKind, check_configuration, effective_settings
from owui_vault.config import HeartbeatSettings, VaultSettings, load_settings, load_telling
from owui_vault.model.events import USUAL_KINDS
from owui_vault.model.secrets import EnvironmentSecret, FileSecret, GivenSecret

BASE = """
instance: {data_dir: /data}
repositories: {nas: {engine: restic, location: /mnt/nas, passphrase: {env: P}}}
plans: {nightly: {schedule: "0 3 * * *"}, weekly: {schedule: "0 4 * * 0"}}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "vault.yaml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def load(folder: Path, text: str, **environ: str) -> VaultSettings:
    return load_settings(write(folder, BASE + text), environ)


def url_of(heartbeat: HeartbeatSettings | None) -> str:
    assert heartbeat
    assert isinstance(heartbeat.url, GivenSecret)
    return heartbeat.url.secret.reveal()


def test_a_notification_is_an_address_or_where_it_is_and_has_defaults(tmp_path: Path) -> None:
    first, second = load(
        tmp_path,
        """
notifications:
  - url: mailtos://user:pass@example.org
  - {url: {file: /etc/hook}, when: [success, summary], remind: 1d, plans: [weekly]}
""",
    ).notifications
    assert isinstance(first.url, GivenSecret)
    assert (first.when, first.remind, first.plans) == (USUAL_KINDS, timedelta(days=3), ())
    assert second.url == FileSecret(path=Path("/etc/hook"))
    assert second.when == (EventKind.SUCCESS, EventKind.SUMMARY)
    assert (second.remind, second.plans) == (timedelta(days=1), ("weekly",))


@pytest.mark.parametrize(
    ("written", "log"),
    [
        ("https://hc.example/x", False),
        ("{url: https://hc.example/x}", False),
        ("{url: https://hc.example/x, log: true}", True),
        ("${URL}", False),
    ],
)
def test_a_heartbeat_is_a_url_or_has_one(tmp_path: Path, written: str, *, log: bool) -> None:
    settings = load(tmp_path, f"heartbeat: {written}\n", URL="https://hc.example/x")
    assert url_of(settings.heartbeat) == "https://hc.example/x"
    assert settings.heartbeat
    assert settings.heartbeat.log is log


def test_a_heartbeat_may_be_any_form_of_secret_and_a_plans_own(tmp_path: Path) -> None:
    text = BASE.replace('"0 3 * * *"', '"0 3 * * *", heartbeat: {env: HC}') + "heartbeat: {url: {file: /etc/hc}}\n"
    settings = load_settings(write(tmp_path, text), {})
    assert settings.heartbeat == HeartbeatSettings(url=FileSecret(path=Path("/etc/hc")))
    assert settings.plan_heartbeats == {"nightly": HeartbeatSettings(url=EnvironmentSecret(variable="HC"))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("notifications: [{url: admin@s3cr3t}]", "notifications[1].url (line 5): must be an address such as"),
        ("notifications: [{url: 'json://x', whenx: [failure]}]", "did you mean 'when'?"),
        ("notifications: [{url: 'json://x', when: [failurex]}]", "must be one of failure"),
        ("notifications: [{url: 'json://x', when: []}]", "names nothing to tell"),
        (
            "notifications: [{url: 'json://x', plans: [nightlyx]}]",
            "there is no plan 'nightlyx'; did you mean 'nightly'?",
        ),
        ("notifications: [{url: 'json://x', remind: 0d}]", "must be longer than zero"),
        ("notifications: {url: 'json://x'}", "must be a list"),
        ("heartbeat: ftp://s3cr3t", "must be an https:// or http:// URL"),
        ("heartbeat: {lgo: true}", "did you mean 'log'?"),
        ("heartbeat: {url: 'https://x', log: 3}", "heartbeat"),
    ],
)
def test_each_mistake_is_told_at_its_place_and_without_the_address(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text + "\n")
    assert expected in raised.value.message
    assert "s3cr3t" not in raised.value.message


def test_who_is_told_is_known_whatever_else_is_wrong(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
instance: {name: chat, data_dri: /data}
repositories: {nas: {engine: rustic, location: "${UNSET}"}}
plans: {nightly: {schedule: never, heartbeat: https://hc.example/own}, weekly: 3}
notifications: [{url: "json://a"}, {url: nothing}, {url: "json://${UNSET}"}, 7, {url: {file: hook}}]
heartbeat: https://hc.example/all
state_dir: state
""",
    )
    with pytest.raises(ConfigError):
        load_settings(file, {})
    known = load_telling(file, {})
    assert len(known.notifications) == 2
    assert url_of(known.heartbeat) == "https://hc.example/all"
    assert url_of(known.plan_heartbeats["nightly"]) == "https://hc.example/own"
    assert known.instance
    assert (known.instance.name, known.state_dir) == ("chat", tmp_path / "state")


def test_a_file_that_cannot_be_parsed_or_that_others_can_write_names_nobody(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_telling(write(tmp_path, "heartbeat: https://x\nplans: [\n"), {})
    file = write(tmp_path, "heartbeat: {command: [evil]}\n")
    file.chmod(0o666)
    with pytest.raises(ConfigError):
        load_telling(file, {})
    assert load_telling(write(tmp_path, "[]\n"), {}).heartbeat is None


def test_config_show_never_shows_an_address(tmp_path: Path) -> None:
    text = BASE.replace('"0 3 * * *"', '"0 3 * * *", heartbeat: https://hc.example/s3cr3t') + (
        "heartbeat: https://hc.example/s3cr3t\nnotifications: [{url: 'json://u:s3cr3t@h'}]\n"
    )
    shown = effective_settings(write(tmp_path, text), {})
    assert "s3cr3t" not in repr(shown)
    assert {"heartbeat", "plans.nightly.heartbeat", "notifications[1].url"} <= {each.key for each in shown.settings}


@pytest.mark.parametrize(
    ("text", "silent"),
    [
        ("", "nightly, weekly do"),
        ("notifications: [{url: 'json://x'}]", "nightly, weekly do"),
        ("notifications: [{url: 'json://x', when: [success], plans: [weekly]}]", "nightly does"),
        ("notifications: [{url: 'json://x', when: [failure, summary]}]", ""),
        ("heartbeat: https://x.example/", ""),
    ],
)
def test_silence_on_success_without_a_heartbeat_is_warned_of(tmp_path: Path, text: str, silent: str) -> None:
    report = check_configuration(write(tmp_path, BASE + text + "\n"), {})
    found = [each for each in report.warnings if "nobody would notice" in each]
    assert len(found) == bool(silent)
    assert all(f"{silent} not run any more" in each for each in found)
