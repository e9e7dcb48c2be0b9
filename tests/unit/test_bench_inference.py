"""What `aios bench inference` makes of what it measured: ratios, tables, a picture; and what a path's parts are."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from aios.inference_workers.classify import Head
from aios.inference_workers.engines import engine_arguments
from aios.inference_workers.engines.engine import Embed, Generate
from aios.inference_workers.rehearse import request_of
from aios.inference_workers.tasks import Classify, EmbedText, Several
from aios.inference_workers.weights import convert
from aios.infra.bench import inference_direct, inference_figures, inference_path, inference_prefix, plot
from aios.infra.bench.inference_path import ANSWER, MODEL, TURN, WHOLE, Way
from aios.infra.bench.inference_pools import Flow
from aios.infra.bench.plot import Bars, Lines
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceRequested
from aios.streams.record import Record
from aios.streams.topics import (
    CASE_ADMITTED,
    CASE_DECIDED,
    DOCUMENT_RECEIVED,
    INFERENCE_COMPLETED,
    REVIEW_REQUESTED,
    Topic,
    inference_requested,
)
from tests.fakes.answers import answer
from tests.fakes.registry import FakeRegistry

CODEC = Codec(FakeRegistry())
HEAD = Head(("a", "b"), np.ones((2, 4), np.float32), np.zeros(2, np.float32), 1.0, np.zeros(4, np.float32), 0.0)
OPTIONS = '{"head": "messages"}'
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
    "interactive_requests": 210,
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
            "cases": 9,
            "late": 1,
            "persons": {"cases": 2, "p50": 4.0},
            "parts": [{"part": "admit", "mean": 3.0}, {"part": WHOLE, "mean": 9.0}],
            "direct_ms": {"p50": 5.0},
            "adds_ms": {"p50": 60.0},
        },
    }


def record(topic: str, at: int, value: bytes = b"") -> Record:
    return Record(topic, 0, 0, at, b"case", value, ())


def asking(text: str) -> InferenceRequested:
    return request_of(json.dumps({"id": "r", "task": "classify", "model": "m", "input": text, "options": OPTIONS}))[1]


def test_ratios_are_of_medians_and_each_round_is_told() -> None:
    """A lucky round does not make a figure."""
    found = inference_figures.rates(ROUNDS, (1, 64))
    assert found["eta"] == pytest.approx(8 / 9, abs=1e-3)
    assert found["eta_rounds"] == [0.9, 1.0, 0.8]
    assert found["gain"] == {"engine": 4.0, "kafka": 3.0}
    assert found["gain_share"] == 0.75


@given(st.floats(0.01, 1.0))
def test_a_path_that_is_slow_at_one_gains_nothing_by_it(slower: float) -> None:
    """Ours and the engine's own gain begin at the same rate."""
    found = inference_figures.rates({**ROUNDS, "kafka/1": [slower]}, (1, 64))
    assert found["gain_share"] == inference_figures.rates(ROUNDS, (1, 64))["gain_share"] <= 1


def test_the_gain_of_like_beginnings_is_of_pairs() -> None:
    """Both ways of a round stand beside each other; the machine of another round may be another."""
    found = inference_figures.prefix(PREFIX)
    assert (found["gain_rounds"], found["gain_cpu"]) == ([2.0, 3.0], 2.5)
    assert found["ways"]["as they come"] == {"busy_s": 5.0, "cpu_s": 6.0, "found": 0.1}


@pytest.mark.parametrize("gpu", [True, False])
def test_beginnings_have_the_same_room_on_every_device(monkeypatch: pytest.MonkeyPatch, *, gpu: bool) -> None:
    """So many blocks of a length that is said: vLLM's own is half of that on a GPU, with room for next to none."""
    rooms: list[int] = []

    class Engine:
        """It finds half of what it looks up."""

        pid = os.getpid()
        tokens_max = inference_prefix.ROOM_TOKENS

        def __init__(self, model: Path, _runner: object, settings: Any, told: Any, **own: int) -> None:
            self._told = told
            chosen = engine_arguments.arguments(model, embeds=False, settings=settings, gpu=gpu, dtype="float16")
            chosen |= own
            rooms.append(chosen["num_gpu_blocks_override"] * chosen.get("block_size", 16))

        async def start(self) -> None: ...

        async def generate(self, _request: Generate) -> None:
            self._told(step_seconds=0.1, prefix_queries=2, prefix_hits=1)

        async def close(self) -> None: ...

    monkeypatch.setattr(inference_prefix, "VllmEngine", Engine)
    monkeypatch.setattr(convert, "folder", Path)
    found = asyncio.run(inference_prefix.run(rounds=1, each=1))
    assert found["requests"] == inference_prefix.BEGINNINGS
    assert rooms == [inference_prefix.ROOM_TOKENS] * len(inference_prefix.WAYS)


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


def test_who_waits_for_a_person_is_not_an_answered_caller() -> None:
    """He is told apart, and a decision after its caller has gone counts as late."""

    def way(end: Topic, took: int, status: int) -> Way:
        ends = [record(DOCUMENT_RECEIVED.name, 1001), record(end.name, 1000 + took)]
        return Way(began=1000.0, ended=1000.0 + took, status=status, records=ends)

    persons = [way(REVIEW_REQUESTED, took, 202) for took in (2, 4)]
    found = inference_path.figures([way(CASE_DECIDED, 40, 200), way(CASE_DECIDED, 60, 202), *persons], CODEC)
    assert (found["cases"], found["late"], found["persons"]["cases"], found["persons"]["p50"]) == (2, 1, 2, 3.0)
    assert {row["part"]: row["mean"] for row in found["parts"]}[WHOLE] == 50.0


def test_a_call_begins_when_it_was_due() -> None:
    """However late the caller's process comes to send it: a queue that it makes itself counts."""
    asyncio.run(_calls_late())


async def _calls_late() -> None:
    began_s = time.time()

    async def accept(asked: web.Request) -> web.Response:
        return web.json_response({"case_id": (await asked.json())["text"]})

    app = web.Application()
    app.router.add_post(inference_path.PATH, accept)
    async with TestServer(app) as server:
        ways = await inference_path.posted(str(server.make_url("")).rstrip("/"), "key", 3, per_s=100.0)
    due_ms = sorted(way.began for way in ways.values())
    assert [at - due_ms[0] for at in due_ms] == pytest.approx([0, 10, 20], abs=1e-3)
    assert began_s * 1000 <= due_ms[0] <= min(way.ended for way in ways.values())


def test_the_engine_alone_is_asked_what_the_task_asks_it() -> None:
    """Before its clock starts; a text of several pieces, of which it would read one, is refused."""
    listens: Any = inference_direct._Listens()
    task = Several(Classify(listens, heads={"messages": HEAD}), EmbedText(listens))
    short, long = (asking(text) for text in ("a card", "word " * 150))
    with asyncio.Runner() as loop:
        assert inference_direct.asked_of(listens, task, loop, short) == Embed(text="a card", priority=0)
        with pytest.raises(ValueError, match="2 pieces"):
            inference_direct.asked_of(listens, task, loop, long)


def test_a_flow_asks_no_more_than_it_may() -> None:
    """So many outstanding, or as they are due, and never more than its count."""
    steady = Flow(process="classify", first=0, count=10, at_once=4)
    assert steady.due(0) == 4
    steady.sent, steady.answers = 9, {str(n): record("t", 0) for n in range(8)}
    assert steady.due(0) == 1
    paced = Flow(process="classify", first=0, count=10, per_s=2.0, began=100.0)
    assert [paced.due(at) for at in (100.0, 101.0, 1000.0)] == [1, 3, 10]
