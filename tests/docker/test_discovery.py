"""Which container is found, and what is told of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from owui_vault import Container, InstanceError, InstanceNotFoundError, UnsupportedInstanceError, Vault
from owui_vault.containers.reader import engine_addresses
from owui_vault.instance.container.container import find_container
from owui_vault.instance.container.discovery import candidates, the_candidate
from tests.docker.conftest import Instance, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
ENGINE = ("unix:///var/run/docker.sock",)
IDLE = ("sleep", "600")
ROOT = Path(__file__).parents[2]


def found_among(*names: str) -> set[str]:
    """Other tests have containers on the same engine."""
    return {each.told.name for each in candidates(ENGINE)} & set(names)


def inspected(name: str, tmp_path: Path) -> tuple[str, ...]:
    return Vault(Container(name), [], state_dir=tmp_path / "state").inspect().warnings


def test_it_is_found_by_its_data_whatever_its_name_is(run: Callable[..., Instance], tmp_path: Path) -> None:
    """A fork has its own name, and an image that was flattened has no label of its origin."""
    instance = run("--label=com.docker.compose.project=ai", "--label=com.docker.compose.service=chat")
    assert found_among(instance.name) == {instance.name}
    report = Vault(Container(instance.name), [], state_dir=tmp_path / "state").inspect()
    record = report.container
    assert record
    assert report.running
    assert report.data_dir == instance.data
    assert record.mount.volume == f"{instance.name}-data"
    assert record.mount.source == instance.data
    assert record.data_dir == "/app/backend/data"
    assert record.compose
    assert (record.compose.project, record.compose.service) == ("ai", "chat")
    assert dict(report.journal_modes) == {"webui.db": "wal", "vector_db/chroma.sqlite3": "delete"}
    assert "pause" in report.modes
    assert "stop" in report.modes


def test_a_stopped_one_is_found_and_known(run: Callable[..., Instance], tmp_path: Path) -> None:
    instance = run("--env=WEBUI_SECRET_KEY=from the environment", mount="bind")
    docker("stop", instance.name)
    assert found_among(instance.name) == {instance.name}
    report = Vault(Container(instance.name), [], state_dir=tmp_path / "state").inspect()
    assert not report.running
    assert report.secret_key.found
    assert "WEBUI_SECRET_KEY" in report.secret_key.source


def test_others_are_left_out(run: Callable[..., Instance]) -> None:
    """No Open WebUI content, one-off runs of Compose, helpers of ours."""
    empty = run(command=IDLE)
    once = run("--label=com.docker.compose.project=a", "--label=com.docker.compose.oneoff=True")
    ours = run("--label=owui-vault.role=sidecar")
    assert found_among(empty.name, once.name, ours.name) == set()


def test_several_are_listed_and_none_is_guessed(run: Callable[..., Instance]) -> None:
    first, second = run(), run(mount="bind")
    with pytest.raises(InstanceNotFoundError) as caught:
        the_candidate("", ENGINE)
    assert first.name in caught.value.message
    assert second.name in caught.value.message
    assert caught.value.exit_code == 2
    assert the_candidate(second.name, ENGINE).told.name == second.name


def test_data_in_the_containers_layer_are_refused_with_an_explanation(
    run: Callable[..., Instance], tmp_path: Path
) -> None:
    instance = run("--env=WEBUI_NAME=x", mount="layer")
    with pytest.raises(UnsupportedInstanceError, match="in its own layer") as caught:
        find_container(instance.name, ENGINE)
    assert "recreates" in caught.value.hint


def test_what_would_be_lost_is_told(run: Callable[..., Instance], tmp_path: Path) -> None:
    instance = run("--rm", mount="anonymous")
    together = run(f"--volumes-from={instance.name}", mount="layer", command=IDLE)
    warnings = " ".join(inspected(instance.name, tmp_path))
    assert "anonymous volume" in warnings
    assert "removes this container when it stops" in warnings
    assert f"{together.name} can write to the same data" in warnings
    assert "layer (/app/backend/.webui_secret_key)" in warnings
    found = find_container(instance.name, ENGINE)
    assert len(found.held) == 2
    assert found.record.together == (together.name,)


def test_state_elsewhere_is_told(run: Callable[..., Instance], tmp_path: Path) -> None:
    instance = run("--env=VECTOR_DB=qdrant", "--env=STORAGE_PROVIDER=s3", "--label=autoheal=true")
    warnings = " ".join(inspected(instance.name, tmp_path))
    assert "Qdrant" in warnings
    assert "S3 bucket" in warnings
    assert "restarts containers that look unhealthy" in warnings


def test_a_database_elsewhere_is_refused(run: Callable[..., Instance], vault_of: Callable[..., Vault]) -> None:
    instance = run("--env=DATABASE_URL=postgresql://u:secret@db/webui")
    with pytest.raises(UnsupportedInstanceError, match="postgresql on db") as caught:
        vault_of(instance).snapshot()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "source", "key"),
    [
        (("--env=WEBUI_SECRET_KEY=plain",), "WEBUI_SECRET_KEY in the environment", "plain"),
        (("--env=WEBUI_SECRET_KEY_FILE=/tmp/the-key",), "/tmp/the-key of container", None),
        ((), "/app/backend/.webui_secret_key of container", None),
    ],
)
def test_the_secret_key_is_found_where_the_application_looks(
    run: Callable[..., Instance], options: tuple[str, ...], source: str, key: str | None
) -> None:
    instance = run(*options)
    path = "/tmp/the-key" if "FILE" in "".join(options) else "/app/backend/.webui_secret_key"
    told = key or docker("exec", instance.name, "cat", path)
    for stopped in (False, True):
        if stopped:
            docker("stop", instance.name)
        found = find_container(instance.name, ENGINE).keys[0]
        assert found
        assert source in found.source
        assert found.key.reveal() == told


def test_the_same_path_on_the_other_side_of_a_border_is_not_taken_for_the_data(
    run: Callable[..., Instance], tmp_path: Path, image: str
) -> None:
    """As with an engine in a virtual machine: the path it names may exist here and hold something else."""
    instance = run(mount="bind")
    away = instance.data.with_name("away")
    instance.data.rename(away)
    instance.data.mkdir()
    (instance.data / "webui.db").write_bytes(b"another one")
    with pytest.raises(InstanceError, match="it does not exist here") as caught:
        find_container(instance.name, ENGINE)
    assert "as a container" in caught.value.hint


def test_no_engine_no_container_and_no_right_are_each_told(run: Callable[..., Instance], tmp_path: Path) -> None:
    with pytest.raises(InstanceNotFoundError, match="no container engine answers"):
        find_container("", (f"unix://{tmp_path}/none.sock",))
    with pytest.raises(InstanceNotFoundError, match="no container engine was found here"):
        find_container("x", ())
    with pytest.raises(InstanceNotFoundError, match="there is no container nobody-here"):
        find_container("nobody-here", ENGINE)
    assert engine_addresses({"DOCKER_HOST": "tcp://10.0.0.1:2375"}) == ("tcp://10.0.0.1:2375",)
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from owui_vault.instance.container.container import find_container\n"
        "from owui_vault.errors import VaultError\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: find_container('', ('unix:///var/run/docker.sock',))\n"
        "except VaultError as error: print(error, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=False)
    assert "has no right to read and write" in done.stdout, done.stderr
    assert "add the user to the group" in done.stdout


def test_inspect_and_a_first_configuration_from_the_command_line(run: Callable[..., Instance], tmp_path: Path) -> None:
    instance = run()

    def program(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-m", "owui_vault", *words]
        return subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    written = program("--container", instance.name, "init", "--discover")
    assert written.returncode == 0, written.stderr
    assert (tmp_path / "vault.yaml").stat().st_mode & 0o777 == 0o600
    again = program("--container", instance.name, "init", "--discover")
    assert again.returncode == 2
    assert "already exists" in again.stderr
    told = program("--json", "inspect")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["container"]["name"] == instance.name


def test_a_key_is_told_without_the_line_break_that_ends_its_file(run: Callable[..., Instance]) -> None:
    """The image makes its file with `echo` and reads it with `$(cat)`."""
    instance = run("--env=WEBUI_SECRET_KEY_FILE=/tmp/the-key")
    docker("exec", instance.name, "sh", "-c", "echo 'a key = of the image' > /tmp/the-key")
    found = find_container(instance.name, ENGINE).keys[0]
    assert found is not None
    assert found.key.reveal() == "a key = of the image"
