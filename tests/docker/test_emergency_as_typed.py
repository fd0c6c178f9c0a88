"""The emergency page in a container that has what apt and pip bring, and nothing else: every line as it stands there.

The container is the sidecar's image: no checkout, no state, no configuration, an empty home. The paths of the page are
its own; only a borg's option and the name of an archive are filled in, as the page asks for.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.docker.conftest import APPLICATION, docker, until
from tests.docker.test_sidecar import alone, images  # noqa: F401  fixtures
from tests.pages import shell_lines
from tests.ports import free_port
from tests.test_emergency import Stranger, section

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root]
IMAGE = "owui-vault-test-sidecar"
WITHOUT_OURS = "rm -rf /opt/owui-vault"


def typed(stranger: Stranger, lines: list[str]) -> str:
    """What a root shell in such a container answers; `/srv` is this machine's, to be looked at afterwards."""
    places = {"repository": "/mnt/nas/open-webui", "home/nas.pass": "/root/nas.pass", "srv-of-it": "/srv"}
    volumes = [f"--volume={stranger.folder / here}:{there}" for here, there in places.items()]
    (stranger.folder / "srv-of-it").mkdir(exist_ok=True)
    argv = ["docker", "run", "--rm", "--network=none", "--entrypoint=bash", *volumes, IMAGE, "-euc", "\n".join(lines)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{lines}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def assert_back(stranger: Stranger) -> None:
    (stranger.folder / "srv").symlink_to(stranger.folder / "srv-of-it" / "open-webui")
    stranger.assert_back()


@pytest.fixture(params=["restic", "borg"])
def stranger(request: pytest.FixtureRequest, tmp_path: Path, small_instance: Callable[[Path], Path]) -> Stranger:
    return Stranger(tmp_path, small_instance(tmp_path / "instance"), request.param, ours=False)


@pytest.mark.usefixtures("alone")
def test_a_server_that_is_gone_comes_back(stranger: Stranger) -> None:
    (block,) = section(1)
    lines = shell_lines(block)
    if stranger.engine == "borg":
        lines = [line.replace("owui-vault --", "owui-vault --engine borg --") for line in lines]
    assert "HOW TO BRING THIS OPEN WEBUI BACK" in typed(stranger, lines)
    assert_back(stranger)


@pytest.mark.usefixtures("alone")
def test_the_engine_alone_brings_everything_back(stranger: Stranger) -> None:
    (block,) = [each for each in section(5) if f"{stranger.engine} " in each.text]
    lines = [line.replace("::NAME", f"::{stranger.name}") for line in shell_lines(block)]
    said = typed(stranger, [WITHOUT_OURS, *lines])
    assert "HOW TO BRING THIS OPEN WEBUI BACK" in said
    assert "ATTENTION" not in said
    assert_back(stranger)


@pytest.fixture
def container() -> Iterator[str]:
    name = "owui-vault-emergency"
    yield name
    docker("rm", "--force", "--volumes", name, check=False)


@pytest.mark.usefixtures("alone")
def test_a_container_from_nothing_runs_on_what_came_back(tmp_path: Path, container: str, image: str) -> None:
    """Names and port are this machine's; the application of the tests stands for Open WebUI."""
    data = tmp_path / "instance" / "data"
    data.mkdir(parents=True)
    (tmp_path / "instance" / ".webui_secret_key").write_text("a key")
    subprocess.run([sys.executable, APPLICATION, "fill", "2"], env={"DATA_DIR": str(data)}, check=True)
    stranger = Stranger(tmp_path, data, "restic", ours=False)
    (block,) = section(1)
    typed(stranger, shell_lines(block))
    (block,) = section(2)
    (line,) = shell_lines(block)
    for of_the_page, here in (
        ("/srv/", f"{tmp_path}/srv-of-it/"),
        ("--name open-webui", f"--name {container}"),
        ("3000:8080", f"127.0.0.1:{free_port()}:8080"),
        ("--restart unless-stopped ", ""),
        ("ghcr.io/open-webui/open-webui:VERSION", image),
    ):
        assert of_the_page in line
        line = line.replace(of_the_page, here)
    subprocess.run(["bash", "-euc", line], check=True, capture_output=True)
    assert until(lambda: docker("inspect", "-f", "{{.State.Health.Status}}", container) == "healthy")
    code = "import os; print(os.environ['WEBUI_SECRET_KEY'])"
    assert docker("exec", container, "python3", "-c", code) == "a key"
