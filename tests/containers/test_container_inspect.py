"""What an engine tells, and what follows from it: no engine is needed for that."""

from __future__ import annotations

import json
from pathlib import Path

from owui_vault.containers.container_inspect import ContainerInspect, parse
from owui_vault.instance.container.discovery import points_of
from owui_vault.instance.container.risks import container_warnings, writes_to_data_of

DATA = {"Type": "bind", "Source": "/srv/owui/data", "Destination": "/app/backend/data", "RW": True}


def told(name: str = "open-webui", *mounts: dict[str, object], image: str = "x", **more: object) -> ContainerInspect:
    settings = {
        "Image": image,
        "Env": more.get("env", []),
        "Labels": more.get("labels", {}),
        "WorkingDir": "/app/backend",
    }
    inspected = {
        "Id": name,
        "Name": f"/{name}",
        "State": {"Status": more.get("status", "running"), "Health": {"Status": "healthy"}},
        "Config": settings,
        "HostConfig": {"RestartPolicy": {"Name": "always"}, "AutoRemove": more.get("auto_remove", False)},
        "Mounts": list(mounts),
        "NetworkSettings": more.get("network", {}),
    }
    return parse(json.loads(json.dumps(inspected)))


def warnings(one: ContainerInspect, *others: ContainerInspect, volume: dict[str, object] | None = None) -> str:
    return " ".join(container_warnings(one, others, volume or {}))


def test_nothing_is_needed_to_parse() -> None:
    empty = parse({})
    assert empty.data_dir == "/app/backend/data"
    assert empty.data_mount is None
    assert empty.compose is None
    assert not empty.running
    assert points_of(empty) == 2  # the working directory is the image's default


def test_the_data_directory_is_what_the_application_was_told() -> None:
    moved = told("a", {**DATA, "Destination": "/state"}, env=["DATA_DIR=/state/owui", "EMPTY", "A=b=c"])
    assert moved.data_dir == "/state/owui"
    assert moved.source_of(moved.data_dir) == Path("/srv/owui/data/owui")
    assert moved.environment == {"DATA_DIR": "/state/owui", "A": "b=c"}
    assert told("a", env=["DATA_DIR=data2"]).data_dir == "/app/backend/data2"


def test_the_nearest_mount_counts_and_memory_is_none() -> None:
    above = {**DATA, "Source": "/srv/all", "Destination": "/app"}
    assert told("a", above, DATA).source_of("/app/backend/data/x") == Path("/srv/owui/data/x")
    assert told("a", above).source_of("/app/backend/data") == Path("/srv/all/backend/data")
    assert told("a", {**DATA, "Type": "tmpfs", "Source": ""}).data_mount is None
    assert told("a", {**DATA, "Destination": "/app/backend/database"}).data_mount is None


def test_published_ports_come_first_and_a_hosts_own_network_counts() -> None:
    network = {
        "Ports": {"9000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "3000"}, {"HostIp": "10.1.1.1", "HostPort": "81"}]},
        "Networks": {"b": {"IPAddress": "172.17.0.2"}, "none": {"IPAddress": ""}},
    }
    found = told("a", env=["PORT=9000"], network=network).addresses
    assert found == (("127.0.0.1", 3000), ("10.1.1.1", 81), ("172.17.0.2", 9000))
    assert parse({"HostConfig": {"NetworkMode": "host"}}).addresses == (("127.0.0.1", 8080),)


def test_names_and_labels_speak_for_it() -> None:
    label = {"org.opencontainers.image.source": "https://github.com/open-webui/open-webui"}
    assert points_of(told("a", DATA)) > points_of(told("a", image="ghcr.io/open-webui/open-webui:main"))
    assert points_of(told("a", labels=label)) > points_of(told("a"))


def test_who_can_write_to_the_data_is_held_and_who_only_reads_is_not() -> None:
    one = told("open-webui", DATA)
    assert writes_to_data_of(told("b", {**DATA, "Destination": "/elsewhere"}), one)
    assert writes_to_data_of(told("b", {**DATA, "Source": "/srv/owui/data/uploads"}), one)
    assert not writes_to_data_of(told("b", {**DATA, "RW": False}), one)
    assert not writes_to_data_of(told("b", {**DATA, "Source": "/srv/owui/data2"}), one)
    assert not writes_to_data_of(told("b", DATA, labels={"owui-vault.role": "sidecar"}), one)
    assert not writes_to_data_of(told("b", {**DATA, "Source": ""}), one)
    assert "b has a parent folder of the data" in warnings(one, told("b", {**DATA, "Source": "/srv"}))


def test_parts_that_are_mounts_of_their_own_are_known() -> None:
    uploads = {**DATA, "Source": "/srv/uploads", "Destination": "/app/backend/data/uploads"}
    one = told("open-webui", uploads, DATA, {**DATA, "Source": "/srv/x", "Destination": "/app/backend/database"})
    assert [str(each.destination) for each in one.nested] == ["/app/backend/data/uploads"]
    assert one.data_sources == (Path("/srv/owui/data"), Path("/srv/uploads"))
    assert writes_to_data_of(told("b", {**DATA, "Source": "/srv/uploads", "Destination": "/x"}), one)
    assert not writes_to_data_of(told("b", {**DATA, "Source": "/srv/x", "Destination": "/x"}), one)
    assert told("a", uploads).data_sources == ()
    memory = parse({"HostConfig": {"Tmpfs": {"/app/backend/data/uploads": "", "/tmp": ""}}, "Mounts": [DATA]})
    assert [each.where for each in memory.nested] == ["memory (tmpfs)"]
    assert memory.data_sources == (Path("/srv/owui/data"),)
    assert parse({"HostConfig": {"Tmpfs": {"/app/backend/data": ""}}}).data_mount is None


def test_an_instance_that_works_on_the_data_by_a_folder_above_is_held() -> None:
    one = told("open-webui", DATA)
    above = {**DATA, "Source": "/srv/owui", "Destination": "/srv"}
    assert writes_to_data_of(told("b", above, env=["DATA_DIR=/srv/data"]), one)
    assert not writes_to_data_of(told("b", {**above, "RW": False}, env=["DATA_DIR=/srv/data"]), one)
    assert not writes_to_data_of(told("b", above, env=["DATA_DIR=/srv/data2"]), one)
    replica = told("open-webui", {**DATA, "Source": "/srv/all", "Destination": "/app/backend"})
    assert writes_to_data_of(told("c", {**DATA, "Source": "/srv/all", "Destination": "/app/backend"}), replica)


def test_compose_files_that_are_relative_belong_to_the_projects_folder() -> None:
    labels = {"io.podman.compose.project": "ai", "com.docker.compose.project.config_files": "compose.yaml,/b.yaml"}
    compose = told("a", labels={**labels, "com.docker.compose.project.working_dir": "/srv/ai"}).compose
    assert compose
    assert compose.files == (Path("/srv/ai/compose.yaml"), Path("/b.yaml"))


def test_watchers_and_networks_are_told() -> None:
    healer = told("doctor", image="willfarrell/autoheal:latest")
    assert "doctor restarts containers that look unhealthy" in warnings(told("a", DATA), healer)
    assert "restarts containers" not in warnings(told("a", DATA), told("b", image="autoheal", status="exited"))
    volume = {**DATA, "Type": "volume", "Name": "shared", "Driver": "local"}
    assert "network file system (nfs4)" in warnings(told("a", volume), volume={"Options": {"type": "nfs4"}})
    assert warnings(told("a", volume), volume={"Driver": "local", "Options": None}) == ""
    assert "--rm" in warnings(told("a", DATA, auto_remove=True))


def test_podmans_labels_of_compose_are_known() -> None:
    labels = {"io.podman.compose.project": "ai", "com.docker.compose.service": "chat"}
    compose = told("a", labels={**labels, "com.docker.compose.project.config_files": "/a.yaml,/b.yaml"}).compose
    assert compose
    assert (compose.project, compose.service, compose.files) == ("ai", "chat", (Path("/a.yaml"), Path("/b.yaml")))
