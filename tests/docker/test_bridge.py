"""Where a container finds this machine, as the stand-in for the model's provider of `make e2e` needs it."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from tests.e2e.container import bridge, gateway_of
from tests.quiesce.conftest import image  # noqa: F401  a fixture: pytest looks for it here


@pytest.mark.parametrize(
    ("config", "address"),
    [
        ({"Subnet": "172.17.0.0/16"}, "172.17.0.1"),  # an engine after its first start
        ({"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}, "172.17.0.1"),
        ({"Subnet": "10.4.0.0/24", "Gateway": "10.4.0.254"}, "10.4.0.254"),
    ],
)
def test_the_gateway_is_known_after_the_first_start_of_an_engine(config: dict[str, Any], address: str) -> None:
    assert gateway_of({"IPAM": {"Config": [config]}}) == address


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.root
def test_a_container_reaches_this_machine_by_it(image: str) -> None:  # noqa: F811  the fixture of that name
    routes = ["docker", "run", "--rm", "--no-healthcheck", image, "cat", "/proc/net/route"]
    lines = subprocess.run(routes, capture_output=True, text=True, check=True).stdout.splitlines()
    (hexadecimal,) = [words[2] for line in lines[1:] if (words := line.split())[1] == "00000000"]
    assert bridge() == ".".join(str(byte) for byte in reversed(bytes.fromhex(hexadecimal)))
