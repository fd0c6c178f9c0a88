"""Rows of a listing that nobody asks for."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path

from owui_vault.engines.common.spool import spooling


def test_rows_that_nobody_asks_for_leave_no_open_file(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with spooling(tmp_path) as spool:
            spool.write("a path")
        held: list[object] = [spool.hand_out(str)]
        held.append(held)  # as the traceback of an error holds its frames
        del spool, held
        gc.collect()
    assert [str(each.message) for each in told] == []
