"""How a rescue is written down, and what is made of one that another version wrote down."""

from __future__ import annotations

import sys

from owui_vault.guardian.rescue_command import down_command, rescue, with_current_interpreter

UNIT = ("unit", "open-webui.service", "stop")
RECORD = "/data/.owui-vault/swap.json"
# As 0.1 wrote them before there was one address for all.
INNER = ("/old/python", "-m", "owui_vault." + "quiesce.rescue", *UNIT)
OUTER = ("/old/python", "-m", "owui_vault." + "vault.leading_back", RECORD, *INNER)
THEIRS = ("/opt/theirs", "-m", "their.rescue", "owui_vault.rescue")


def test_a_rescue_is_written_down_by_an_address_that_is_no_room() -> None:
    assert rescue(*UNIT) == (sys.executable, "-m", "owui_vault.rescue", *UNIT)


def test_a_rescue_of_an_earlier_installation_is_run_by_todays_interpreter() -> None:
    assert with_current_interpreter(("/old/python", *rescue(*UNIT)[1:])) == rescue(*UNIT)
    assert with_current_interpreter(rescue(*UNIT)) == rescue(*UNIT)


def test_so_is_the_one_that_it_hands_over_to() -> None:
    old = ("/old/python", *rescue("rollback", RECORD)[1:], "/older/python", *rescue(*UNIT)[1:])
    assert with_current_interpreter(old) == (*rescue("rollback", RECORD), *rescue(*UNIT))


def test_one_that_names_a_module_of_then_is_found_at_the_address() -> None:
    assert with_current_interpreter(INNER) == rescue(*UNIT)
    assert with_current_interpreter(OUTER) == (*rescue("rollback", RECORD), *rescue(*UNIT))
    assert with_current_interpreter(OUTER[:4]) == rescue("rollback", RECORD)


def test_a_program_of_somebody_else_stays_as_it_is() -> None:
    assert with_current_interpreter(THEIRS) == THEIRS
    assert with_current_interpreter((*OUTER[:4], *THEIRS)) == (*rescue("rollback", RECORD), *THEIRS)
    assert with_current_interpreter(()) == ()
    assert down_command(THEIRS) == ()
    assert down_command(()) == ()


def test_a_rescue_of_ours_can_be_told_to_stop_first() -> None:
    assert down_command(rescue(*UNIT)) == rescue("unit", "--down", *UNIT[1:])


def test_undoing_a_restore_in_place_stops_nobody() -> None:
    assert down_command(rescue("rollback", RECORD)) == ()
    assert down_command(rescue()) == ()
