"""Where a container's data lie here, when only the engine can be asked: it is stopped, or on the other side."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import cast

import pytest
from owui_vault.containers.container_inspect import ContainerInspect, parse
from owui_vault.containers.reader import Engine
from owui_vault.errors import InstanceError
from owui_vault.instance.container.host_path import data_dir_here

MOMENT = datetime(2026, 7, 1, 12, 30, 15, tzinfo=UTC)


@dataclass
class Telling:
    """An engine that tells of every file that it was changed then."""

    mtime: str
    address: str = "unix:///engine.sock"

    def size_of(self, _container: str, _path: str) -> int:
        return 5

    def changed(self, _container: str, _path: str) -> str:
        return self.mtime


@pytest.fixture
def stopped(tmp_path: Path) -> ContainerInspect:
    (tmp_path / "webui.db").write_bytes(b"12345")
    os.utime(tmp_path / "webui.db", ns=(0, int(MOMENT.timestamp()) * 1_000_000_000 + 123_456_789))
    mount = {"Type": "bind", "Source": str(tmp_path), "Destination": "/app/backend/data"}
    return parse({"Id": "a", "Name": "/a", "State": {"Status": "exited"}, "Mounts": [mount]})


def engine(mtime: str) -> Engine:
    return cast("Engine", Telling(mtime))


@pytest.mark.parametrize("fraction", ["", ".123456789", ".1"])
@pytest.mark.parametrize("hours", [0, 2, -7])
def test_an_engine_tells_times_in_the_time_zone_of_its_host(
    stopped: ContainerInspect, fraction: str, hours: int
) -> None:
    local = MOMENT.astimezone(timezone(timedelta(hours=hours)))
    offset = local.isoformat()[-6:].replace("+00:00", "Z")
    told = f"{local:%Y-%m-%dT%H:%M:%S}{fraction}{offset}"
    assert data_dir_here(engine(told), stopped) == stopped.source_of(stopped.data_dir)


@pytest.mark.parametrize("told", ["2026-07-01T12:30:16Z", "2026-07-01T12:30:15+02:00", "yesterday", ""])
def test_a_file_of_another_time_is_another_file(stopped: ContainerInspect, told: str) -> None:
    with pytest.raises(InstanceError, match="are in"):
        data_dir_here(engine(told), stopped)
