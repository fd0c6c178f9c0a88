"""A file open below more folders than a path can name, which any user of the machine can bring about."""

from __future__ import annotations

import os
from pathlib import Path

from owui_vault.system import procfs


def test_a_file_too_deep_for_a_path_is_passed_over(tmp_path: Path) -> None:
    name, opened = "d" * 250, [os.open(tmp_path, os.O_RDONLY)]
    try:
        for _ in range(20):
            os.mkdir(name, dir_fd=opened[-1])
            opened.append(os.open(name, os.O_RDONLY, dir_fd=opened[-1]))
        found = procfs.open_files(os.getpid())
        assert found.readable
        assert opened[0] in {descriptor for descriptor, _path in found.paths}
        assert opened[-1] not in {descriptor for descriptor, _path in found.paths}
    finally:
        while len(opened) > 1:
            os.close(opened.pop())
            os.rmdir(name, dir_fd=opened[-1])
        os.close(opened[0])
