"""Money is whole: nothing rounds away, nothing is free that has a price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.streams import money
from aios.streams.errors import ConfigError
from aios.streams.pool_files import Price

PRICE = Price(per_1000_prompt_tokens=20, per_1000_output_tokens=600, per_engine_second=30)


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [((0, 0, 0), 0), ((1_000, 0, 0), 20), ((1_000, 1_000, 1_000_000), 650), ((1, 0, 0), 1), ((1, 1, 1), 1)],
)
def test_an_answer_costs_its_tokens_and_engine_time_rounded_up_once(tokens: tuple[int, int, int], cost: int) -> None:
    """Known prices."""
    prompt, output, engine = tokens
    assert money.answer_micro(PRICE, prompt_tokens=prompt, output_tokens=output, engine_us=engine) == cost


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
