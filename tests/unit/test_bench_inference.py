"""What `aios bench inference` makes of what it measured: ratios, tables, a picture; and what a path's parts are."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.infra.bench import inference_figures, inference_path, plot
from aios.infra.bench.inference_path import ANSWER, MODEL, TURN, WHOLE, Way
from aios.infra.bench.inference_pools import Flow
from aios.infra.bench.plot import Bars, Lines
from aios.schemas.codec import Codec
from aios.streams.record import Record
from aios.streams.topics import (
    CASE_ADMITTED,
    CASE_DECIDED,
    DOCUMENT_RECEIVED,
    INFERENCE_COMPLETED,
    inference_requested,
)
from tests.fakes.answers import answer
from tests.fakes.registry import FakeRegistry

CODEC = Codec(FakeRegistry())
ROUNDS = {
    "engine/1": [2.0, 1.0, 3.0],
    "engine/64": [8.0, 8.0, 8.0],
    "kafka/1": [1.0, 1.0, 1.0],
    "kafka/64": [6.0, 6.0, 6.0],
    "offline": [10.0, 8.0, 9.0],
    "pool": [9.0, 8.0, 7.2],
    "loop/1": [2.0, 2.0, 2.0],
    "loop/16": [4.0, 4.0, 4.0],
}
LANE = {
    "interactive_ms": {"alone": {"p50": 5.0, "p99": 9.0}, "with bulk": {"p50": 6.0, "p99": 12.0}},
    "p99_ratio": 1.33,
    "bulk_per_s": {"alone": 100.0, "with who waits": 90.0},
    "bulk_share": 0.9,
}
PREFIX = {
    "requests": 24,
    "room_tokens": 2048,
    "ways": {
        "as they come": [{"busy_s": 4.0, "cpu_s": 6.0, "found": 0.0}, {"busy_s": 6.0, "cpu_s": 6.0, "found": 0.2}],
        "alike together": [{"busy_s": 2.0, "cpu_s": 2.0, "found": 0.7}, {"busy_s": 2.0, "cpu_s": 3.0, "found": 0.7}],
    },
}


def measured() -> dict[str, Any]:
    return {
        "rates": {"generate": inference_figures.rates(ROUNDS, (1, 64))},
        "lanes": {"one worker": LANE},
        "prefix": inference_figures.prefix(PREFIX),
        "path": {
            "parts": [{"part": "admit", "mean": 3.0}, {"part": WHOLE, "mean": 9.0}],
            "direct_ms": {"p50": 5.0},
            "adds_ms": {"p50": 60.0},
        },
    }


def record(topic: str, at: int, value: bytes = b"") -> Record:
    return Record(topic, 0, 0, at, b"case", value, ())


def test_ratios_are_of_medians_and_each_round_is_told() -> None:
    """A lucky round does not make a figure."""
    found = inference_figures.rates(ROUNDS, (1, 64))
    assert found["eta"] == pytest.approx(8 / 9, abs=1e-3)
    assert found["eta_rounds"] == [0.9, 1.0, 0.8]
    assert found["gain"] == {"engine": 4.0, "kafka": 6.0}
    assert found["gain_share"] == 1.5


def test_the_gain_of_like_beginnings_is_of_pairs() -> None:
    """Both ways of a round stand beside each other; the machine of another round may be another."""
    found = inference_figures.prefix(PREFIX)
    assert (found["gain_rounds"], found["gain_cpu"]) == ([2.0, 3.0], 2.5)
    assert found["ways"]["as they come"] == {"busy_s": 5.0, "cpu_s": 6.0, "found": 0.1}


def test_every_part_has_a_table_and_a_panel() -> None:
    """And the picture is well-formed, whatever a title says."""
    titles = [title for title, columns, rows in inference_figures.tables(measured()) if columns and rows]
    assert len(titles) == 6
    panels = [
        *inference_figures.panels(measured()),
        Bars(title="<&>", unit="", bars={}),
        Lines(title="", unit="", xs=(), series={}),
    ]
    root = ElementTree.fromstring(plot.svg(panels, "a machine & its figures"))
    assert "<&>" in [each.text for each in root.iter() if each.text]


@given(st.lists(st.integers(0, 400), min_size=5, max_size=5), st.integers(0, 50), st.integers(0, 50), st.booleans())
def test_the_parts_of_a_way_add_up_to_the_whole(
    gaps: list[int], queue_ms: int, compute_ms: int, answered: bool
) -> None:
    """Each millisecond is in one part, whoever the caller is; what a worker did is its own part."""
    at, records = 1000, []
    topics = (
        DOCUMENT_RECEIVED,
        CASE_ADMITTED,
        inference_requested("classify.interactive"),
        INFERENCE_COMPLETED,
        CASE_DECIDED,
    )
    for topic, gap in zip(topics, gaps, strict=True):
        at += gap
        value = (
            CODEC.encode(topic, answer(queue_ms=queue_ms, compute_ms=compute_ms))
            if topic is INFERENCE_COMPLETED
            else b""
        )
        records.append(record(topic.name, at, value))
    way = Way(began=1000.0, ended=at + 7.5, status=200 if answered else 202, records=records[::-1])
    parts = inference_path.parts(way, CODEC)
    whole = parts.pop(WHOLE)
    assert whole == pytest.approx(sum(gaps) + (7.5 if answered else 0))
    assert sum(parts.values()) == pytest.approx(whole)
    assert (parts[TURN], parts[MODEL]) == (queue_ms, compute_ms)
    assert (ANSWER in parts) is answered


def test_a_flow_asks_no_more_than_it_may() -> None:
    """So many outstanding, or as they are due, and never more than its count."""
    steady = Flow(process="classify", first=0, count=10, at_once=4)
    assert steady.due(0) == 4
    steady.sent, steady.answers = 9, {str(n): record("t", 0) for n in range(8)}
    assert steady.due(0) == 1
    paced = Flow(process="classify", first=0, count=10, per_s=2.0, began=100.0)
    assert [paced.due(at) for at in (100.0, 101.0, 1000.0)] == [1, 3, 10]
