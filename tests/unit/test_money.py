"""Money is whole: nothing rounds away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.streams import money
from aios.streams.errors import ConfigError


def test_a_person_costs_by_the_minute_rounded_up() -> None:
    """Half a minute at 7 is 4."""
    assert [money.person_micro(7, ms) for ms in (0, 1, 30_000, 60_000)] == [0, 1, 4, 7]


@given(st.integers(0, money.MICRO_MAX))
def test_what_is_shown_can_be_read_again(micro: int) -> None:
    """To the last unit."""
    assert money.parse(money.text(micro)) == micro


@pytest.mark.parametrize("text", ["", "-1", "1.2345678", "1,5", "1e3", "NaN", "1.", "99999999999"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigError):
        money.parse(text)
