"""A configuration file becomes settings, or one error that names every mistake."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from owui_vault.config import (
    EngineName,
    InstanceSettings,
    LimitSettings,
    RepositorySettings,
    Unproven,
    VaultSettings,
    load_settings,
)
from owui_vault.errors import ConfigError
from owui_vault.model import Compression, OllamaModels, Quiesce, RetentionPolicy, Secret, TagPolicy
from owui_vault.model.secrets import (
    CommandSecret,
    CredentialSecret,
    EnvironmentSecret,
    FileSecret,
    GivenSecret,
    KeyringSecret,
    SealedSecret,
)

HOME = {"HOME": "/home/ada"}

WHOLE = """
instance:
  name: chat
  data_dir: /opt/open-webui
  quiesce: pause
  include: [cache/embedding]
  exclude: [uploads/tmp, "*.part"]
  unproven: refuse
  systemd_unit: open-webui.service
  secret_key: /etc/open-webui.key
  database_url: sqlite:////opt/open-webui/webui.db
repositories:
  nas:
    engine: restic
    location: /mnt/nas/open-webui
    program: /opt/restic
    passphrase: {file: nas.pass}
    environment:
      PLAIN: "${KEY}"
      NUMBER: 22
      ENV: {env: B2}
      COMMAND: {command: [./bin/key, show]}
      CREDENTIAL: {credential: b2}
      KEYRING: {keyring: b2, username: ada}
      SEALED: {sealed: keys.sealed, name: b2, unlock: {file: ~/unlock}}
    options: {sftp.connections: "4"}
    upload_limit: 2 MiB
    download_limit: 500KiB
    compression: off
    keep: {last: 3, daily: 7, within: 2d, tags: [release]}
  away:
    engine: borg
    location: ssh://backup@host/./open-webui
    passphrase: {env: AWAY}
limits: {parallel: 3, lock_wait: 0s, freeze: 30s, stop: 2m, idle: 1h, store: 1d}
state_dir: ../state
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "vault.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def load(folder: Path, text: str, environ: Mapping[str, str] = HOME) -> VaultSettings:
    return load_settings(write(folder, text), environ)


def borg(more: str = "", passphrase: str = "{env: P}") -> str:
    return f"repositories: {{a: {{engine: borg, location: x, passphrase: {passphrase}, {more}}}}}"


def refusal(folder: Path, text: str, environ: Mapping[str, str] = HOME) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return caught.value.message


def test_every_key_arrives(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE, {**HOME, "KEY": "s3cret"})
    assert settings == VaultSettings(
        path=tmp_path / "vault.yaml",
        state_dir=tmp_path.parent / "state",
        instance=InstanceSettings(
            name="chat",
            data_dir=Path("/opt/open-webui"),
            quiesce=Quiesce.PAUSE,
            include=("cache/embedding",),
            exclude=("uploads/tmp", "*.part"),
            unproven=Unproven.REFUSE,
            systemd_unit="open-webui.service",
            secret_key=FileSecret(path=Path("/etc/open-webui.key")),
            database_url=GivenSecret(secret=Secret("sqlite:////opt/open-webui/webui.db")),
        ),
        repositories=(
            RepositorySettings(
                name="nas",
                engine=EngineName.RESTIC,
                location="/mnt/nas/open-webui",
                program="/opt/restic",
                passphrase=FileSecret(path=tmp_path / "nas.pass"),
                environment={
                    "PLAIN": GivenSecret(secret=Secret("s3cret")),
                    "NUMBER": GivenSecret(secret=Secret("22")),
                    "ENV": EnvironmentSecret(variable="B2"),
                    "COMMAND": CommandSecret(argv=(str(tmp_path / "bin/key"), "show")),
                    "CREDENTIAL": CredentialSecret(name="b2"),
                    "KEYRING": KeyringSecret(service="b2", username="ada"),
                    "SEALED": SealedSecret(
                        path=tmp_path / "keys.sealed", name="b2", unlock=FileSecret(path=Path("/home/ada/unlock"))
                    ),
                },
                options={"sftp.connections": "4"},
                upload_limit=2 << 20,
                download_limit=500 << 10,
                compression=Compression.OFF,
                keep=RetentionPolicy(last=3, daily=7, within=timedelta(days=2), tags=("release",)),
            ),
            RepositorySettings(
                name="away",
                engine=EngineName.BORG,
                location="ssh://backup@host/./open-webui",
                passphrase=EnvironmentSecret(variable="AWAY"),
            ),
        ),
        limits=LimitSettings(
            parallel=3,
            lock_wait=timedelta(),
            freeze=timedelta(seconds=30),
            stop=timedelta(minutes=2),
            idle=timedelta(hours=1),
            store=timedelta(days=1),
        ),
    )


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    settings = load(tmp_path, "instance: {data_dir: data}\n", {**HOME, "XDG_STATE_HOME": "/state"})
    assert settings.instance == InstanceSettings(data_dir=tmp_path / "data")
    assert settings.instance.quiesce is Quiesce.AUTO
    assert settings.instance.name == "open-webui"
    assert settings.limits == LimitSettings()
    assert settings.repositories == ()
    assert settings.state_dir == Path("/var/lib/owui-vault" if os.geteuid() == 0 else "/state/owui-vault")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("container: c", OllamaModels.OFF),
        ("container: c, ollama: off", OllamaModels.OFF),  # which YAML takes for a truth value
        ("container: c, ollama: models", OllamaModels.MODELS),
        ("data_dir: d, ollama: blobs, ollama_dir: /o", OllamaModels.BLOBS),
    ],
)
def test_how_much_of_ollama_is_stored(tmp_path: Path, written: str, meant: OllamaModels) -> None:
    instance = load(tmp_path, f"instance: {{{written}}}").instance
    assert instance is not None
    assert instance.ollama is meant
    assert instance.ollama_dir == (Path("/o") if "ollama_dir" in written else None)


def test_ollama_must_be_found_and_its_word_be_known(tmp_path: Path) -> None:
    assert "needs 'ollama_dir'" in refusal(tmp_path, "instance: {data_dir: d, ollama: models}")
    for wrong in ("on", "everything"):
        assert "ollama" in refusal(tmp_path, f"instance: {{container: c, ollama: {wrong}}}")


def test_a_repository_alone_is_a_configuration(tmp_path: Path) -> None:
    settings = load(tmp_path, "repositories: {nas: {engine: borg, location: r, passphrase: {env: P}}}")
    assert settings.instance is None
    assert settings.repositories[0].location == str(tmp_path / "r")
    assert settings.repositories[0].keep is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("backups", "{folder}/backups"),
        ("../backups", "{parent}/backups"),
        ("/mnt/a b", "/mnt/a b"),
        ("~/backups", "/home/ada/backups"),
        ("sftp:user@host:/srv", "sftp:user@host:/srv"),
        ("rest:http://host:8000/", "rest:http://host:8000/"),
        ("ssh://host/./repo", "ssh://host/./repo"),
        ("user@host:repo", "user@host:repo"),
        ("b2:bucket:folder", "b2:bucket:folder"),
        ("local:repo", "local:{folder}/repo"),
        ("local:~/repo", "local:/home/ada/repo"),
        ("local:/srv/repo", "local:/srv/repo"),
        ("odd/with:colon", "{folder}/odd/with:colon"),
    ],
)
def test_only_paths_of_this_machine_are_expanded(tmp_path: Path, written: str, meant: str) -> None:
    settings = load(
        tmp_path, f'repositories: {{nas: {{engine: restic, location: "{written}", passphrase: {{env: P}}}}}}'
    )
    assert settings.repositories[0].location == meant.format(folder=tmp_path, parent=tmp_path.parent)


def test_all_mistakes_are_told_at_once_each_with_its_path_and_line(tmp_path: Path) -> None:
    message = refusal(
        tmp_path,
        """\
instance:
  name: Bad Name
  quiesce: paus
  exclude: ["*.db"]
repositories:
  nas:
    engine: rustic
    location: r
    passphrase: {fil: p}
    environment: {A: "${UNSET}", B: {sealed: k, name: n}}
    keep: {daily: seven, dayly: 7}
limits: {freeze: 10}
limit: {}
""",
    )
    for claim in (
        "11 mistakes",
        "instance.name (line 2): must be a name",
        "instance.quiesce (line 3): must be one of auto, live, pause or stop",
        "instance.exclude[1] (line 4): would leave out the database",
        "repositories.nas.engine (line 7): must be one of restic or borg",
        "repositories.nas.passphrase.fil (line 9): is not known; did you mean 'file'?",
        "repositories.nas.environment.A (line 10): needs the environment variable UNSET, which is not set",
        "repositories.nas.keep.daily (line 11): must be a whole number, not text",
        "repositories.nas.keep.dayly (line 11): is not known; did you mean 'daily'?",
        "limits.freeze (line 12): must be a duration: a whole number and its unit",
        "limit (line 13): is not known; did you mean 'limits'?",
    ):
        assert claim in message
    assert "repositories.nas.environment.B (line 10): needs 'unlock' beside 'sealed'" in message


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("instance: {container: a, pid_file: b}", "instance (line 1): has 'container', whose engine can pause it"),
        ("instance: {compose: c.yaml}", "instance.compose (line 1): is not built yet"),
        ("instance: {systemd_unit: a, pid_file: b}", "instance (line 1): has both 'systemd_unit' and 'pid_file'"),
        ("instance: [a]", "instance (line 1): must be a mapping of keys and values, not a list"),
        ("instance:", "instance (line 1): has no value"),
        ("instance: {data_dir: 5}", "instance.data_dir (line 1): must be text, not a number; put it in quotes"),
        ("instance: {data_dir: ''}", "instance.data_dir (line 1): is empty"),
        ("instance: {data_dir: '~nobody-here/x'}", "there is no user 'nobody-here'"),
        ("instance: {name: 2024-01-01}", "instance.name (line 1): must be text, not a date; put it in quotes"),
        ("instance: {quiesce: off}", "must be one of auto, live, pause or stop"),
        ("instance: {include: cache}", "instance.include (line 1): must be a list, not text"),
        ("instance: {include: [../x]}", "must be relative to the data directory"),
        ("instance: {exclude: [/x]}", "must be relative to the data directory"),
        ("instance: {exclude: [database]}", "would leave out the database"),
        ("instance: {systemd_unit: '--now'}", "must be the name of a systemd unit"),
        ('instance: {data_dir: "a\\nb"}', "must be one line without control characters"),
        ("repositories: {a: {engine: borg}}", "repositories.a.location (line 1): is missing"),
        (borg().replace("{a:", "{A:"), "repositories.A (line 1): must be a name"),
        (borg().replace("{a:", "{1:"), "put it in quotes"),
        (borg("keep: {}"), "keep (line 1): would keep nothing"),
        (borg("keep: {daily: 0}"), "would keep nothing"),
        (borg("keep: "), "repositories.a.keep (line 1): has no value"),
        (borg("keep: {daily: -1}"), "between 0 and"),
        (borg("keep: {daily: true}"), "a whole number"),
        (borg("keep: {within: 0d}"), "longer than zero"),
        (borg("keep: {tags: ['a b']}"), "must be a tag"),
        (borg("keep: {daily: 7, tags: {'a b': {weekly: 8}}}"), "must be a tag"),
        (borg("keep: {daily: 7, tags: {cold: {}}}"), "keep.tags.cold (line 1): would keep nothing"),
        (borg("keep: {daily: 7, tags: {cold: {weeky: 8}}}"), "weeky (line 1): is not known; did you mean 'weekly'"),
        (borg("keep: {daily: 7, tags: {cold: 8}}"), "keep.tags.cold (line 1): must be a mapping"),
        (borg("keep: {daily: 7, tags: cold}"), "keep.tags (line 1): must be a list"),
        (borg("keep: {tags: {cold: {weekly: 8}}}"), "has rules for tags only"),
        (borg("options: {a: b}"), "which only restic takes"),
        (borg("password: x"), "a.password (line 1): is not known; did you mean 'passphrase'?"),
        (borg("url: x"), "a.url (line 1): is not known; did you mean 'location'?"),
        (borg(passphrase="{env: 9}"), "must be text, not a number"),
        (borg(passphrase="{env: 'A B'}"), "name of an environment variable"),
        (borg(passphrase="{}"), "must name exactly one of file, env"),
        (borg(passphrase="{env: A, file: b}"), "must name exactly one of"),
        (borg(passphrase="{env: A, name: b}"), "which goes with 'sealed' only"),
        (borg(passphrase="{keyring: A}"), "needs 'username' beside 'keyring'"),
        (borg(passphrase="{command: 'pass show x'}"), "must be a list"),
        (borg(passphrase="{credential: ../x}"), "without a folder"),
        (borg("environment: {A: true}"), "must be a mapping"),
        (borg("environment: {'A B': x}"), "environment variable"),
        ("limits: {idle: 5x}", "must be a duration"),
        ("limits: {idle: [1s]}", "must be a duration such as 30s, 5m, 2h or 1d, not a list"),
        ("limits: {store: never}", "must be a duration"),
        ("state_dir: [a]", "state_dir (line 1): must be text, not a list"),
        (
            "a: {b: c}",
            "a (line 1): is not known; allowed here: collapse, heartbeat, instance, limits, log_file, metrics,"
            " notifications, plans, report, repositories, state_dir",
        ),
        ("state_dir: ${A", "has a '${' that is not ${NAME} or ${NAME:-default}"),
        ("instance: {name: a, name: b}", "instance.name (line 1): is given twice"),
        ("- a", "must hold keys and values, not a list"),
        ("just text", "must hold keys and values, not text"),
        ("", "is empty"),
        ("# nothing", "is empty"),
        ("a: [b", "is not valid YAML in line 1"),
        ("a: b\n\tc: d", "is not valid YAML in line 2"),
        ("a: b: c", "is not valid YAML in line 1"),
        ("a: 2026-13-45", "is not valid YAML"),
        ("a: !!python/object:os.system x", "is not valid YAML in line 1"),
        ("{[a]: b}", "is not valid YAML in line 1"),
        ("a: b\n---\nc: d", "is not valid YAML"),
        ("a: " + "[" * 30 + "]" * 30, "nested more than"),
        ("a: &a [*a]", "alias that contains itself"),
    ],
)  # fmt: skip
def test_each_mistake_is_named(tmp_path: Path, text: str, claim: str) -> None:
    assert claim in refusal(tmp_path, text)


def test_tags_may_have_rules_of_their_own(tmp_path: Path) -> None:
    (repository,) = load(
        tmp_path, borg("keep: {daily: 7, tags: {cold: {weekly: 8, within: 2d}, audit: {last: 1}}}")
    ).repositories
    assert repository.keep == RetentionPolicy(
        daily=7,
        tag_policies=(
            TagPolicy(tag="cold", keep=RetentionPolicy(weekly=8, within=timedelta(days=2))),
            TagPolicy(tag="audit", keep=RetentionPolicy(last=1)),
        ),
    )


def test_aliases_that_multiply_are_refused_quickly(tmp_path: Path) -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
    assert "expands to more than" in refusal(tmp_path, f"l0: &l0 [x, x]\n{levels}")
    merges = "\n".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}" for n in range(1, 12))
    assert "expands to more than" in refusal(tmp_path, f"m0: &m0 {{a: b}}\n{merges}")


def test_an_honest_alias_is_welcome(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """\
repositories:
  a: {engine: borg, location: x, passphrase: &p {env: P}, keep: &keep {daily: 7}}
  b: {engine: borg, location: y, passphrase: *p, keep: {<<: *keep, weekly: 4}}
""",
    )
    assert settings.repositories[1].keep == RetentionPolicy(daily=7, weekly=4)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o660])
def test_a_file_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, "limits: {}")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="can be written by") as caught:
        load_settings(path, HOME)
    assert f"chmod go-w {path}" in caught.value.hint


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, claim in (
        (tmp_path / "missing.yaml", "there is no configuration file"),
        (tmp_path / "pipe" / "below", "there is no configuration file"),
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path, "not a regular file"),
    ):
        with pytest.raises(ConfigError, match=claim):
            load_settings(path, HOME)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes(b"instance: {name: \xff}")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(path, HOME)
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_settings(path, HOME)
    path.write_bytes("\ufefflimits: {}".encode())
    assert load_settings(path, HOME).limits == LimitSettings()
    path.write_bytes(b"a: \x07")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_settings(path, HOME)


@pytest.mark.parametrize(
    "text",
    [
        "repositories: {a: {engine: borg, location: x, passphrase: hunter2, keep: {x: hunter2}}}",
        borg("environment: {A: *hunter2}"),
        borg("environment: {A: !hunter2 x}"),
        borg("environment: {A: %hunter2}"),
        "repositories: {a: {engine: hunter2, location: [hunter2], passphrase: {env: P, command: hunter2}}}",
        borg("environment: {A: [hunter2]}"),
        borg("environment: {A: {env: 'hunter2 '}}"),
        borg('program: "${SECRET}\\n", keep: "${SECRET}"'),
    ],
)  # fmt: skip
def test_a_refusal_never_repeats_what_may_be_a_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, {**HOME, "SECRET": "hunter2"})
    shown = caught.value
    assert "hunter2" not in f"{shown.message} {shown.hint}"
    assert shown.__cause__ is None
    assert shown.__suppress_context__


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("a: {b: ${HOME}}", "expected ',' or '}', but got '{'"),
        ("a: [b\n}", "expected ',' or ']', but got '}'"),
        ("a: {b: c\n- d", "expected ',' or '}', but got '<stream end>'"),
        ('a: "\\q"', "found unknown escape character 'q'"),
    ],
)
def test_what_yaml_says_of_signs_of_its_own_is_told(tmp_path: Path, text: str, claim: str) -> None:
    assert claim in refusal(tmp_path, text)


def test_an_unquoted_variable_in_braces_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "repositories:\n  nas: {engine: borg, location: ${HOME}/nas}\n")
    assert "line 2" in caught.value.message
    assert "put ${…} in quotes" in caught.value.hint.lower()


def test_settings_do_not_show_what_they_hold(tmp_path: Path) -> None:
    text = borg("environment: {A: hunter2}").replace("location: x", "location: 'rest:http://u:hunter2@h/'")
    assert "hunter2" not in repr(load(tmp_path, text))


def test_the_file_is_only_read(tmp_path: Path) -> None:
    path = write(tmp_path, "limits: {}")
    before = path.stat()
    load_settings(path, HOME)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["vault.yaml"]
