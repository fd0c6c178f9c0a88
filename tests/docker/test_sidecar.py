"""examples/compose/ as it is shipped: built, started and used, by root and by anybody, with and without the proxy."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.docker.begun import has_begun
from tests.docker.conftest import broken_rules, docker, until
from tests.ports import free_port

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(900)]
EXAMPLE = ROOT / "examples" / "compose"
BASE, PROXY = "owui-vault-test-base", "owui-vault-test-haproxy"
# The builder of old needs no plugin, and reaches what this machine reaches.
ENVIRONMENT = {**os.environ, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Of all workers: their images and projects have the same names, and an old builder trips over another one."""
    with Path("/tmp/owui-vault-sidecar.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def images(image: str) -> None:
    """The base, the proxy and the sidecar's layers: there since `tools/set-up-all`, or made now."""
    assert image == "owui-vault-test"
    built = subprocess.run([ROOT / "tools" / "build-sidecar-images"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr


@dataclass(frozen=True, slots=True)
class Project:
    """One Compose project of the example, its files beside it in `folder`."""

    compose: Path
    files: tuple[str, ...]
    name: str
    folder: Path

    def run(self, *arguments: str, status: int = 0) -> str:
        """Docker Compose, its standard output."""
        files = [part for file in self.files for part in ("--file", str(EXAMPLE / file))]
        argv = [
            str(self.compose),
            "--project-name",
            self.name,
            "--env-file",
            str(self.folder / "env"),
            *files,
            *arguments,
        ]
        environment = {**ENVIRONMENT, "PWD": str(EXAMPLE)}
        done = subprocess.run(argv, cwd=EXAMPLE, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def build(self) -> None:
        """Again where a file of somebody else's went while the checkout was looked through: coverage writes some."""
        for _ in range(5):
            try:
                self.run("build", "--quiet", "backup")
                return
            except AssertionError as error:
                if "checking context" not in str(error):
                    raise
        self.run("build", "--quiet", "backup")

    def vault(self, *arguments: str, status: int = 0) -> str:
        return self.run("exec", "-T", "backup", "owui-vault", *arguments, status=status)

    def state(self) -> str:
        return docker("inspect", "--format", "{{.State.Status}}", self.name)

    def data(self) -> Path:
        return self.volume("data")

    def volume(self, name: str) -> Path:
        return Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", f"{self.name}_{name}"))


@pytest.fixture
def alone(images: None) -> Iterator[None]:
    with one_at_a_time():
        yield


@pytest.fixture(params=["root-socket", "user-proxy"])
def project(request: pytest.FixtureRequest, alone: None, compose: Path, tmp_path: Path) -> Iterator[Project]:
    user = "1000:1000" if request.param == "user-proxy" else "0:0"
    files = ("compose.yaml", "compose.proxy.yaml") if request.param == "user-proxy" else ("compose.yaml",)
    port = free_port()
    name = f"owui-vault-{request.param}"
    settings = {
        "OPEN_WEBUI_IMAGE": "owui-vault-test",
        "OPEN_WEBUI_NAME": name,
        "OPEN_WEBUI_PORT": port,
        "RUN_AS": user,
        "WEBUI_SECRET_KEY": "key of the project",
        "BASE": BASE,
        "HAPROXY_IMAGE": PROXY,
        "REPOSITORY": tmp_path / "repository",
        "PASSPHRASE_FILE": tmp_path / "passphrase",
    }
    settings |= (
        {"SCHEDULE": '"* * * * *"', "HEALTH_INTERVAL": "5s"} if request.node.get_closest_marker("hurried") else {}
    )
    (tmp_path / "env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    (tmp_path / "repository").mkdir()
    (tmp_path / "passphrase").write_text("correct horse\n")
    (tmp_path / "passphrase").chmod(0o600)
    owner = int(user.partition(":")[0])
    for each in ("repository", "passphrase"):
        os.chown(tmp_path / each, owner, owner)
    for parent in [tmp_path, *tmp_path.parents]:  # pytest's folders are private
        parent.chmod(parent.stat().st_mode | 0o011)
    found = Project(compose, files, name, tmp_path)
    docker("volume", "create", f"--label=com.docker.compose.project={name}", f"{name}_data")
    os.chown(found.data(), owner, owner)
    try:
        found.build()
        found.run("up", "--detach")
        assert until(lambda: has_begun(found.data())), docker("logs", name)
        yield found
    finally:
        found.run("kill")  # what sleeps hears no polite request
        found.run("down", "--volumes", "--rmi", "local")


def test_the_sidecar_does_everything_from_beside(project: Project, tmp_path: Path) -> None:
    assert "compose.yaml cannot be read" not in project.vault("inspect")
    assert "local: created" in project.vault("init")
    proofs = {}
    for mode in ("auto", "pause", "stop"):
        told = json.loads(project.vault("--json", "snapshot", "--quiesce", mode))
        assert told["outcome"] == "complete", told["problems"]
        assert project.state() == "running"
        proofs[mode] = told["proof"]["mode"]
    assert proofs["pause"] == "pause"
    assert proofs["stop"] == "stop"
    project.vault("restore", "latest", "--target", "/repository/back")
    back = project.folder / "repository" / "back"
    assert broken_rules(back / "data") == ""
    assert (back / "outside" / "webui_secret_key").read_text() == "key of the project"
    assert "cap_drop" in (back / "outside" / "compose.yaml").read_text()
    project.vault("restore", "latest", "--in-place", "--yes")
    assert project.state() == "running"
    project.vault("discard", "--yes")
    assert not (project.data() / ".owui-vault").exists()
    if "proxy" in project.name:
        the_proxy_lets_nothing_else_through(project)


def the_proxy_lets_nothing_else_through(project: Project) -> None:
    program = """if True:
        import sys, urllib.error, urllib.request
        for method, path in [line.split() for line in sys.argv[1:]]:
            question = urllib.request.Request(f"http://engine:2375{path}", method=method)
            try:
                print(urllib.request.urlopen(question, timeout=20).status)
            except urllib.error.HTTPError as error:
                print(error.code)
    """
    name = project.name
    forbidden = ("POST /containers/create", f"POST /containers/{name}/exec", f"DELETE /containers/{name}", "GET /info",
                 f"POST /v1.41/containers/{name}/kill", "POST /images/create?fromImage=x", "GET /secrets",
                 f"PUT /containers/{name}/archive?path=/", f"GET /containers/{name}/logs?stdout=1")  # fmt: skip
    allowed = ("GET /version", f"GET /v1.41/containers/{name}/json")
    told = project.run("exec", "-T", "backup", "python3", "-c", program, *allowed, *forbidden).split()
    assert told == ["200"] * len(allowed) + ["403"] * len(forbidden)


@pytest.mark.parametrize("project", [pytest.param("root-socket", marks=pytest.mark.rare), "user-proxy"], indirect=True)
def test_a_killed_run_and_a_killed_sidecar_leave_nothing_paused(project: Project) -> None:
    project.vault("init")
    hold = (
        "exec",
        "--detach",
        "backup",
        "owui-vault",
        "hold",
        "--quiesce",
        "pause",
        "--limit",
        "5m",
        "--",
        "sleep",
        "300",
    )
    project.run(*hold)
    assert until(lambda: project.state() == "paused")
    kill = "import os,signal;[os.kill(int(p),9) for p in os.listdir('/proc') if p.isdigit() and b'hold' in open(f'/proc/{p}/cmdline','rb').read().split(b'\\0')]"  # noqa: E501  one program
    project.run("exec", "-T", "backup", "python3", "-c", kill)
    assert until(lambda: project.state() == "running", 5), "the guardian lives on in the sidecar"
    project.run(*hold)
    assert until(lambda: project.state() == "paused")
    docker("kill", f"{project.name}-backup-1")
    assert project.state() == "paused", "the guardian died with the sidecar"
    docker("start", f"{project.name}-backup-1")
    assert until(lambda: project.state() == "running"), "recover runs whenever the sidecar starts"


def health(project: Project) -> str:
    return docker("inspect", "--format", "{{.State.Health.Status}}", f"{project.name}-backup-1")


def successes(state: Path) -> int:
    """Read from the ledger itself: to ask the program for a minute keeps a processor busy."""
    lines = [line for path in state.glob("instances/*/runs.jsonl") for line in path.read_text().splitlines()]
    return sum('"run-ended"' in line and '"success"' in line for line in lines)


def stored(project: Project) -> list[str]:
    runs = json.loads(project.vault("--json", "history"))["runs"]
    return [each["outcome"] for each in runs if each["plan"] == "nightly"]


@pytest.mark.parametrize("project", ["root-socket"], indirect=True)
@pytest.mark.hurried
def test_it_backs_up_by_itself_and_survives_a_restart_of_everything(project: Project) -> None:
    backup, state = f"{project.name}-backup-1", project.volume("state")
    assert until(lambda: health(project) == "healthy", 90), "before the first backup is due nothing is wrong"
    project.vault("init")
    assert until(lambda: successes(state) > 0, 150), docker("logs", backup)
    assert "success" in stored(project)
    assert until(lambda: health(project) == "healthy", 30), project.vault("status", "--offline", status=5)
    before = successes(state)
    docker("restart", project.name, backup)
    assert until(lambda: project.state() == "running" and has_begun(project.data()))
    assert until(lambda: successes(state) > before, 150), docker("logs", backup)
    assert stored(project).count("success") > before
    docker("stop", backup)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", backup) in ("0", "143")
    assert project.state() == "running"
