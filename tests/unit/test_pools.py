"""`aios pools`: what is declared, and what the workers' metrics say."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from aios.inference_workers import worker
from aios.inference_workers.engines.batch import Usage
from aios.inference_workers.measures import Engines, Measures
from aios.infra.cli import aios
from aios.infra.commands.pools import Sample, quantile, state
from aios.infra.output import NOT_FOUND
from aios.streams import config, installed, model_files
from aios.streams.pool_files import Lane, Pool
from tests.fakes.engine import FakeEngine, shelf_of
from tests.unit.test_inference_measures import ANSWER, POOL

ENDS = [0.1, 0.2, 0.4, 0.8, float("inf")]


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    config.load.cache_clear()
    yield
    config.load.cache_clear()


def own_samples() -> list[Sample]:
    """What this process measures, as a scrape of it would read."""
    return [(each.name, each.labels, each.value) for family in REGISTRY.collect() for each in family.samples]


def plan_of(pool: Pool, turns: int) -> list[Sample]:
    """What a process of plan tells: cases that wait for their turn, here and at a pool that is none of ours."""
    return [("aios_turns_waiting", {"pool": pool.pool}, turns), ("aios_turns_waiting", {"pool": "other.bulk"}, 7)]


@pytest.mark.usefixtures("nothing_runs")
def test_every_shipped_pool_is_listed_although_nothing_runs() -> None:
    told = CliRunner().invoke(aios, ["pools", "--json"])
    said = json.loads(told.stdout)
    assert [each["pool"] for each in said] == list(installed.pools())
    assert {each["workers"] for each in said} == {0}
    assert "no worker was asked: those elsewhere tell Prometheus" in told.stderr


@pytest.mark.usefixtures("nothing_runs")
def test_one_pool_is_shown_with_what_its_file_declares() -> None:
    """Limits and prices beside the state; a name that is none has its exit code."""
    name = next(iter(installed.pools()))
    said = json.loads(CliRunner().invoke(aios, ["pools", name, "--json"]).stdout)
    assert said["in_flight_max"] == installed.pools()[name].limits.in_flight_max
    assert said["price_per_engine_second"] == installed.pools()[name].price.per_engine_second
    assert CliRunner().invoke(aios, ["pools", "nobody.bulk"]).exit_code == NOT_FOUND


def test_what_a_worker_measures_is_what_the_command_shows() -> None:
    """The names agree: two workers that measured the same are twice the work, at one worker's rate."""
    pool = POOL.model_copy(update={"pool": "shown.bulk"})
    measures = Measures(pool)
    engines = Engines("shown", tuple(Lane), seats=28)  # and four for those who wait
    step = {"running": 20, "running_bulk": 16, "waiting": 4, "waiting_bulk": 3, "step_seconds": 0.1}
    engines.of("one")(**step, kv_used=0.75, prefix_queries=100, prefix_hits=25)
    engines.of("other")(**dict.fromkeys(step, 0), kv_used=0.25, prefix_queries=0, prefix_hits=0)  # a canary's
    for _ in range(10):
        measures.wrote(Usage(between_s=0.4, between=10))
        measures.answered(ANSWER, seconds=0.5)
    measures.backlog(40)
    own = own_samples()
    found, one = state(pool, [own, own]), state(pool, [own])
    assert (found["workers"], found["answers"], found["answers_ok"], found["backlog"]) == (2, 20, 20, 80)
    assert found["work_s"] == pytest.approx(2 * one["work_s"], abs=0.2)
    assert found["per_s"] == one["per_s"] > 0
    assert (found["turns"], state(pool, [own], [plan_of(pool, 60)])["turns"]) == (0, 60)
    behind = state(pool, [own], [plan_of(pool, 50), plan_of(pool, 10)])
    assert behind["backlog"] == one["backlog"] + 60
    assert behind["work_s"] == pytest.approx(one["work_s"] * (40 + 60) / 40, rel=0.1)
    shares = (found["batch_fill"], found["kv_used"], found["prefix_hits"])
    assert (found["running"], found["waiting"], *shares) == (32, 6, 0.31, 0.5, 0.25)
    assert found["read_per_s"] == one["read_per_s"] > 0
    assert 320 <= found["p50_ms"] <= 640
    assert (found["tokens_read"], found["tokens_written"]) == (2000, 220)
    assert found["per_1000"] == pytest.approx(2.0)
    assert None not in found.values()


@given(st.lists(st.floats(0, 0.79), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_percentile_lies_in_the_bucket_of_its_value(values: list[float], share: float) -> None:
    """Between the ends of the bucket that holds the value of that rank."""
    samples: list[Sample] = [
        ("x_bucket", {"le": "+Inf" if end == ENDS[-1] else str(end)}, sum(value <= end for value in values))
        for end in ENDS
    ]
    ordered = sorted(values)
    true = ordered[min(len(ordered), max(1, -int(-share * len(ordered) // 1))) - 1]
    bucket = bisect_left(ENDS, true)
    found = quantile(share, samples, "x_bucket")
    assert found is not None
    assert (ENDS[bucket - 1] if bucket else 0) - 1e-9 <= found <= ENDS[bucket] + 1e-9


def test_a_histogram_without_observations_has_no_percentile() -> None:
    assert quantile(0.5, [], "x_bucket") is None
    assert quantile(0.5, [("x_bucket", {"le": "+Inf"}, 0.0)], "x_bucket") is None


def test_a_pool_is_served_by_the_model_that_its_file_names() -> None:
    """A second pool of a task, with a model of its own, is a file and nothing else."""
    classify = installed.pools()["classify.bulk"]
    other = classify.model_copy(update={"pool": "second.bulk", "model": "summariser"})
    assert worker.Served({"bulk": classify}).model == model_files.reference("triage-encoder")
    assert worker.Served({"bulk": other}).model == model_files.reference("summariser")


@pytest.mark.parametrize("process", worker.SERVED)
def test_a_pool_answers_the_tasks_that_workflows_may_ask_of_it(process: str) -> None:
    """What a workflow is held against before any event is what its workers do."""
    served = worker.SERVED[process]
    assert served.task(shelf_of(FakeEngine())).serves == served.pool.serves
