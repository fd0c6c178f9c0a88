"""`${NAME}` in values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from owui_vault.config.errors import ConfigProblem
from owui_vault.config.variables import replace_variables

ENVIRON = {"A": "one", "EMPTY": "", "TRICKY": "${A}"}


def replaced(data: object) -> object:
    mistakes: list[ConfigProblem] = []
    result = replace_variables(data, ENVIRON, mistakes)
    assert not mistakes
    return result


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${A}", "one"),
        ("x${A}y${A}", "xoneyone"),
        ("${NONE:-two}", "two"),
        ("${NONE:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-two}", "two"),
        ("${A:-two}", "one"),
        ("$${A}", "${A}"),
        ("$A $ $$ 5$", "$A $ $$ 5$"),
        ("${TRICKY}", "${A}"),
        ("${NONE:-a:-b}", "a:-b"),
    ],
)
def test_a_variable_is_replaced(written: str, meant: str) -> None:
    assert replaced(written) == meant


def test_values_everywhere_are_replaced_and_keys_are_not() -> None:
    assert replaced({"${A}": ["${A}", {"k": "${A}"}], "n": 5, "t": True}) == {
        "${A}": ["one", {"k": "one"}],
        "n": 5,
        "t": True,
    }


@pytest.mark.parametrize("written", ["${", "${}", "${a-b}", "${A:+x}", "${1}", "${ A }"])
def test_what_is_no_variable_is_a_mistake(written: str) -> None:
    mistakes: list[ConfigProblem] = []
    replace_variables({"k": [written]}, ENVIRON, mistakes)
    assert [(each.path, "is not ${NAME}" in each.text) for each in mistakes] == [(("k", 0), True)]


def test_each_unset_variable_is_told() -> None:
    mistakes: list[ConfigProblem] = []
    replace_variables({"k": "${X} ${Y}"}, ENVIRON, mistakes)
    assert ["X" in mistakes[0].text, "Y" in mistakes[1].text] == [True, True]


@given(st.text(st.characters(codec="utf-8")).filter(lambda text: "${" not in text))
def test_text_without_variables_stays_as_it_is(text: str) -> None:
    assert replaced({"k": text}) == {"k": text}


@given(st.text(st.characters(codec="utf-8")))
def test_every_text_can_be_written_literally(text: str) -> None:
    # `$${` gives `${`; a `$` just before it belongs to the text.
    if "$${" not in text:
        assert replaced(text.replace("${", "$${")) == text
