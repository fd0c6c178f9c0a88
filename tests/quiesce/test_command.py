from __future__ import annotations

import sys

from owui_vault.quiesce.command import down_command, today

INNER = ("/old/python", "-m", "owui_vault.quiesce.rescue", "unit", "open-webui.service", "stop")
OUTER = ("/old/python", "-m", "owui_vault.vault.leading_back", "/data/.owui-vault/swap.json", *INNER)


def test_a_rescue_of_an_earlier_installation_is_run_by_todays_interpreter() -> None:
    assert today(INNER) == (sys.executable, *INNER[1:])


def test_so_is_the_one_that_it_hands_over_to() -> None:
    assert today(OUTER) == (sys.executable, *OUTER[1:4], sys.executable, *INNER[1:])


def test_a_program_of_somebody_else_stays_as_it_is() -> None:
    theirs = ("/opt/theirs", "-m", "their.rescue", "owui_vault.quiesce.rescue")
    assert today(theirs) == theirs
    assert today((*OUTER[:4], *theirs)) == (sys.executable, *OUTER[1:4], *theirs)
    assert down_command(theirs) == ()
    assert down_command(()) == ()


def test_a_rescue_of_ours_can_be_told_to_stop_first() -> None:
    assert down_command(INNER) == (*INNER[:3], "--down", *INNER[3:])
