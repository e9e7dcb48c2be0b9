"""Expressions: whatever comes of one that is no plain JSON value is an error of the expression."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.schemas import ids
from aios.streams.expression import Expression, ExpressionError

VIEW: dict[str, Any] = {"answers": {"find": {"slots": [], "zone": {"a": 1, "b": 2}}, "score": 0}, "input": {"n": 2**62}}


@pytest.mark.parametrize(
    "source",
    [
        "answers.find.slots[0]",  # an index that is not there
        "1 / answers.score",
        "1 % answers.score",
        "input.n * 4",  # over 64 bits
        "int(1e300)",
        "1.0 / double(answers.score)",  # inf
        "timestamp('2026-01-01T00:00:00Z')",
        "[duration('1s')]",
        "b'abc'",
        "{1: 'one'}",
        "{'a': [1.0 / 0.0]}",
    ],
)
def test_what_has_no_json_value_is_an_error_of_the_expression(source: str) -> None:
    """Never an IndexError or an OverflowError, which plan would take for a mistake of its own."""
    with pytest.raises(ExpressionError, match="`"):
        Expression(source).evaluate(VIEW)


@pytest.mark.parametrize("source", ["answers.find.zone.map(k, k)", "answers.find.zone.filter(k, k != 'a')"])
def test_no_list_is_made_of_a_map(source: str) -> None:
    """Its order would be another one in each process."""
    with pytest.raises(ExpressionError, match="no order"):
        Expression(source).evaluate(VIEW)
    assert Expression("answers.find.zone.exists(k, k == 'a')").evaluate(VIEW) is True
    assert Expression("[3, 1, 2].map(n, n * 2)").evaluate(VIEW) == [6, 2, 4]


LEAVES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(LEAVES | st.text(max_size=5), lambda one: st.lists(one) | st.dictionaries(st.text(), one))


@given(value=VALUES)
def test_what_is_given_can_be_written(value: Any) -> None:
    """A value that goes through an expression is canonical JSON afterwards."""
    given_back = Expression("{'it': answers.it, 'twice': [answers.it]}").evaluate({"answers": {"it": value}})
    assert json.loads(ids.canonical(given_back).encode()) == {"it": value, "twice": [value]}


def test_expressions_come_without_the_librarys_command_line() -> None:
    """What draws it would be a seventh of every stage's start."""
    code = "import sys; from aios.streams import expression; sys.exit('prompt_toolkit' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
