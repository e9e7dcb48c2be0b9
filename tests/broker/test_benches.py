"""The benches that need a broker at most, small: each still does the work that it measures, to its end.

What a bench drives changes with the product (limits, contracts, topics), and nobody else would see that it has stopped.
"""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from aios.infra.cli import aios

SMALL = (
    "cases --cases 500,1000 --driven 500",
    "cases --open --cases 500",
    "letters --count 1000",
    "replay --letters 1000",
    "stage --records 10000 --rate 100 --seconds 1",
    "workflow --cases 100",
    "workflow --only screening --names 100",
)


@pytest.mark.parametrize("asked", SMALL)
def test_a_small_run_comes_to_its_end(asked: str) -> None:
    """A bench says itself, with exit code 1, what it waited for in vain or found wrong."""
    ran = CliRunner().invoke(aios, ["bench", *asked.split()])
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.strip()
