"""A whole system under load, of which every process dies by kill -9 once: the cut of `make prove` that is a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from aios.infra.prove import matrix
from aios.infra.prove.stand import Stand
from aios.streams import topology

pytestmark = [pytest.mark.broker, pytest.mark.engine]

GOES_ON_S_MAX = 60.0  # on a machine that runs other tests besides; `make prove` holds stages to 8


def test_every_stage_dies_once_and_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    """At one step of each, in one running system; then the verifier judges from topics and outcome store alone."""
    said: list[str] = []
    stand = Stand(tmp_path / "stand", said.append, nodes=1)
    try:
        stand.start()
        result = matrix.run(tmp_path, [matrix.cut()], said.append, stand)
    finally:
        stand.stop()
    words = "\n".join(said)
    (judged,) = result.rounds
    assert [row.stage for row in result.rows if row.is_done] == list(topology.PROCESSES), words
    assert [row for row in result.rows if row.trouble] == [], words
    assert judged.accepted > 0
    assert (judged.lost, judged.second_decisions, judged.repeated_effects) == (0, 0, 0), words
    assert judged.violations == {}, words
    assert judged.unexpected_letters == 0, words
    assert result.chain == "", words
    assert judged.is_drained, words
    assert [row for row in result.rows if (row.goes_on_s or 0.0) > GOES_ON_S_MAX] == [], words
