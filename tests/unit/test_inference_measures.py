"""What pools measure: rates of work, busy shares, and what stands on the metrics port."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from aios.inference_workers import device
from aios.inference_workers.engines.batch import Usage
from aios.inference_workers.measures import Engines, Measures, Rate, Share
from aios.streams import installed
from aios.streams.pool_files import STATUSES, Goal, Lane, Limits, Pool, Price
from tests.fakes.answers import answer

POOL = Pool(
    pool="probe.bulk",
    does="measured here",
    task="generate",
    model="probe",
    engine="echo",
    weights="none",
    limits=Limits(in_flight_max=10, tokens_in_flight_max=1000, tenant_outstanding_max=10),
    price=Price(per_1000_prompt_tokens=1, per_1000_output_tokens=1, per_engine_second=1),
    objective=Goal(p95_ms=1000),
    retries=(),
)
ANSWER = answer(
    task="generate",
    model="probe@1",
    prompt_tokens=100,
    output_tokens=11,
    queue_ms=5,
    compute_ms=500,
    pool=POOL.pool,
    first_token_ms=100,
    engine_us=250_000,
    cost_micro=2_000,
)


STEP: dict[str, Any] = {
    "running": 4,
    "running_bulk": 3,
    "waiting": 2,
    "waiting_bulk": 2,
    "kv_used": 0.25,
    "step_seconds": 0.1,
    "prefix_queries": 10,
    "prefix_hits": 5,
}
BOTH = tuple(Lane)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def value(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None, name
    return found


@pytest.fixture
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # its import fails


def labels(process: str, weights: str, lanes: str = "interactive+bulk") -> dict[str, str]:
    return {"process": process, "lanes": lanes, "weights": weights}


@given(st.floats(0.5, 5000), st.lists(st.floats(0.001, 30), min_size=200, max_size=200))
def test_a_rate_forgets_what_it_was_told_at_first(believed: float, gaps: list[float]) -> None:
    """After ten memories of work at one rate that rate is told, whatever was believed; idle time adds nothing."""
    rate = Rate(believed, memory_s=1.0)
    for gap in gaps:
        rate.add(1, 0.1)
        assert 0 < rate.per_s < math.inf, gap
    assert rate.per_s == pytest.approx(10, rel=0.01)


@given(st.lists(st.tuples(st.floats(0.001, 5), st.floats(0, 1)), max_size=60))
def test_a_busy_share_is_a_share(steps: list[tuple[float, float]]) -> None:
    """Between 0 and 1 whatever the steps were, 1 in the end if there was no pause, 0 long after the last."""
    now, share = 0.0, Share(0.0)
    for gap, busy in steps:
        now += gap
        share.add(now, gap * busy)
        assert 0 <= share.at(now) <= 1
    for _ in range(1000):
        now += 0.1
        share.add(now, 0.1)
    assert share.at(now) == pytest.approx(1, abs=0.01)
    assert share.at(now + 1000) == pytest.approx(0, abs=0.01)


def test_work_queued_is_what_waits_divided_by_the_rate_of_work() -> None:
    """Sixteen at once, each a second in the engine, are 16/s; an hour without requests does not change that."""
    clock = Clock()
    measures = Measures(POOL, clock=clock)
    assert value("aios_answers_per_second", pool=POOL.pool) == pytest.approx(10)  # what its objective asks of it
    for _ in range(400):
        clock.now += 1.0
        for _ in range(16):
            measures.answered(replace(ANSWER, compute_ms=1000), seconds=1.0)
    assert value("aios_answers_per_second", pool=POOL.pool) == pytest.approx(16, rel=0.05)
    clock.now += 3600
    measures.answered(replace(ANSWER, compute_ms=1000), seconds=1.0)
    measures.backlog(1600)
    assert value("aios_work_queued_seconds", pool=POOL.pool) == pytest.approx(100, rel=0.1)


def test_answers_that_take_no_work_change_what_waits_and_not_how_long_work_takes() -> None:
    """Fifty a second; then five hundred that were known or late at once: a moment later it is fifty a second again."""
    clock, pool = Clock(), POOL.model_copy(update={"pool": "known.bulk"})
    measures = Measures(pool, clock=clock)
    known, late = replace(ANSWER, cached=True), replace(ANSWER, status="expired", prompt_tokens=0)

    def work(seconds: int) -> float:
        for _ in range(50 * seconds):
            clock.now += 0.02
            measures.answered(ANSWER, seconds=1.0)
        return value("aios_answers_per_second", pool=pool.pool)

    assert work(300) == pytest.approx(50, rel=0.05)
    for _ in range(250):
        measures.answered(known, seconds=0.1)
        measures.answered(late, seconds=0.1)
    assert value("aios_answers_per_second", pool=pool.pool) > 500
    assert work(10) == pytest.approx(50, rel=0.05)


def test_where_half_of_the_answers_are_known_half_of_what_waits_is_work() -> None:
    """A hundred answers a second, of which fifty took the engine's time: a thousand are ten seconds of work."""
    clock, pool = Clock(), POOL.model_copy(update={"pool": "half.bulk"})
    measures = Measures(pool, clock=clock)
    for _ in range(20_000):
        clock.now += 0.02
        measures.answered(replace(ANSWER, cached=True), seconds=0.1)
        measures.answered(ANSWER, seconds=1.0)
    measures.backlog(1_000)
    assert value("aios_work_queued_seconds", pool=pool.pool) == pytest.approx(10, rel=0.05)


def test_an_answer_is_counted_once_under_each_name() -> None:
    """Names of the conventions, the price of a thousand, and what was refused, expired or known."""
    pool = POOL.model_copy(update={"pool": "counted.bulk"})
    measures = Measures(pool)
    measures.wrote(Usage(between_s=0.4, between=10))
    measures.answered(ANSWER, seconds=0.8)
    measures.answered(replace(ANSWER, cached=True, engine_us=0, cost_micro=0, compute_ms=0), seconds=0.1)
    measures.answered(replace(ANSWER, status="expired", cost_micro=0), seconds=2.0)
    refused = replace(ANSWER, status="failed", prompt_tokens=0, output_tokens=0, engine_us=0, cost_micro=0)
    measures.answered(refused, seconds=0.1)
    called_off = replace(refused, status="expired", reason="cancelled: decided")
    measures.answered(called_off, seconds=0.1)
    labels = {"pool": pool.pool, "gen_ai_operation_name": "chat", "gen_ai_request_model": "probe"}
    assert value("gen_ai_server_request_duration_seconds_count", **labels) == 5
    assert value("gen_ai_server_time_to_first_token_seconds_sum", **labels) == pytest.approx(0.1)
    assert value("gen_ai_server_time_per_output_token_seconds_sum", **labels) == pytest.approx(0.04)
    assert value("aios_request_queue_time_seconds_count", pool=pool.pool) == 5
    assert value("aios_request_queue_time_seconds_sum", pool=pool.pool) == pytest.approx(5 * 0.005)
    assert value("aios_request_inference_time_seconds_sum", pool=pool.pool) == pytest.approx(0.5)
    assert value("gen_ai_client_token_usage_sum", **labels, gen_ai_token_type="output") == 11
    counted = [value("aios_inference_answers_total", pool=pool.pool, status=status) for status in STATUSES]
    assert dict(zip(STATUSES, counted, strict=True)) == {"ok": 2, "expired": 1, "cancelled": 1, "failed": 1}
    assert value("aios_answer_cache_hits_total", pool=pool.pool) == 1
    assert value("aios_inference_refused_total", pool=pool.pool) == 1
    assert value("aios_cost_per_1000_inferences", pool=pool.pool) == pytest.approx(0.4)
    assert value("aios_engine_seconds_total", pool=pool.pool) == pytest.approx(0.5)


@pytest.mark.usefixtures("_no_gpu")
def test_an_engine_that_never_rests_uses_its_device_whole() -> None:
    """On a machine without a GPU the share of time in the engine is the device's utilisation."""
    clock = Clock()
    told, of = Engines("steady", BOTH, seats=8, clock=clock).of("w"), labels("steady", "w")
    for _ in range(1000):
        clock.now += 0.1
        told(**STEP)
    assert value("aios_batch_fill", **of) == pytest.approx(4 / 9)
    assert value("aios_kv_cache_usage_perc", **of) == 0.25
    assert value("aios_prefix_cache_tokens_total", **of, outcome="hits") == 5000
    busy = value("aios_device_utilisation", process="steady", lanes="interactive+bulk", device="cpu")
    assert busy == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("lanes", "fills"), [(BOTH, [32 / 36, 33 / 36, 1.0]), (BOTH[1:], [1.0, 1.0, 1.0])])
def test_a_batch_is_full_when_the_seats_for_those_who_wait_are_taken_too(
    lanes: tuple[Lane, ...], fills: list[float]
) -> None:
    """With both lanes there are four more of them beside 32: a batch full of bulk work still has room."""
    told, of = Engines("seats", lanes, seats=32).of("w"), labels("seats", "w", lanes="+".join(lanes))
    for running, fill in zip((32, 33, 36), fills, strict=True):
        told(**STEP | {"running": running})
        assert value("aios_batch_fill", **of) == pytest.approx(fill)


def test_what_runs_and_waits_is_told_by_lane() -> None:
    """Both lanes of a process share an engine: who fills it is seen all the same."""
    Engines("lanes", BOTH).of("w")(**STEP)
    of = labels("lanes", "w")
    assert [value("aios_num_requests_running", **of, lane=lane) for lane in BOTH] == [1, 3]
    assert [value("aios_num_requests_waiting", **of, lane=lane) for lane in BOTH] == [0, 2]
    Engines("lanes", BOTH[1:]).of("w")(**STEP)  # on many machines a lane has workers of its own
    assert value("aios_num_requests_running", **labels("lanes", "w", lanes="bulk"), lane="bulk") == 3


@pytest.mark.usefixtures("_no_gpu")
def test_a_canary_s_engine_has_values_of_its_own() -> None:
    """And both work on the same device."""
    clock = Clock()
    engines = Engines("canary", BOTH, seats=7, clock=clock)
    stable, second = engines.of("stable"), engines.of("second")
    for _ in range(1000):
        clock.now += 0.1
        stable(**STEP | {"step_seconds": 0.05})
        second(**STEP | {"step_seconds": 0.025, "running": 1, "running_bulk": 1, "kv_used": 0.0})
    assert [value("aios_batch_fill", **labels("canary", each)) for each in ("stable", "second")] == [0.5, 0.125]
    assert [value("aios_kv_cache_usage_perc", **labels("canary", each)) for each in ("stable", "second")] == [0.25, 0.0]
    busy = value("aios_device_utilisation", process="canary", lanes="interactive+bulk", device="cpu")
    assert busy == pytest.approx(0.75, abs=0.02)


def test_tokens_a_second_are_those_of_the_time_with_work() -> None:
    """Two answers a second of 100 and 11 tokens; an hour without any changes nothing, nor what was known."""
    clock, pool = Clock(), POOL.model_copy(update={"pool": "writes.bulk"})
    measures = Measures(pool, clock=clock)
    assert value("aios_tokens_per_second", pool=pool.pool, gen_ai_token_type="output") == 0
    for _ in range(600):
        clock.now += 0.5
        measures.answered(ANSWER, seconds=1.0)
        measures.answered(replace(ANSWER, cached=True, prompt_tokens=0, output_tokens=0), seconds=0.1)
    clock.now += 3600
    measures.answered(ANSWER, seconds=1.0)
    found = [value("aios_tokens_per_second", pool=pool.pool, gen_ai_token_type=kind) for kind in ("input", "output")]
    assert found == pytest.approx([200, 22], rel=0.05)


def test_every_shipped_pool_is_measured_without_a_clash_of_names() -> None:
    for pool in installed.pools().values():
        Measures(pool).backlog(0)
        assert value("aios_work_queued_seconds", pool=pool.pool) == 0


@pytest.mark.parametrize(
    ("setting", "meant"), [(None, None), ("", frozenset()), ("0, 2", frozenset({0, 2})), ("GPU-1a2b", None)]
)
def test_only_the_gpus_that_a_process_may_use_are_its_own(setting: str | None, meant: frozenset[int] | None) -> None:
    assert device.visible(setting) == meant


class NVMLError(Exception):
    """As pynvml's."""


class Driver:
    """NVML by its binding's names: GPUs and how busy each is, in per cent; None: it does not answer."""

    NVMLError = NVMLError

    def __init__(self, *busy: int | None, there: bool = True) -> None:
        self._busy = busy
        self._there = there

    def nvmlInit(self) -> None:  # noqa: N802 - pynvml's
        if not self._there:
            raise NVMLError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - pynvml's
        return len(self._busy)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - pynvml's
        return index

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:  # noqa: N802 - pynvml's
        busy = self._busy[handle]
        if busy is None:
            raise NVMLError
        return SimpleNamespace(gpu=busy)


def test_a_gpu_s_utilisation_is_what_its_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each that this process may use; one that stops answering reads 0."""
    monkeypatch.setitem(sys.modules, "pynvml", Driver(50, 99, None))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    Engines("drives", BOTH).of("w")(**STEP)
    of = {"process": "drives", "lanes": "interactive+bulk"}
    assert [value("aios_device_utilisation", **of, device=gpu) for gpu in ("gpu0", "gpu2")] == [0.5, 0.0]
    assert REGISTRY.get_sample_value("aios_device_utilisation", {**of, "device": "gpu1"}) is None
    assert REGISTRY.get_sample_value("aios_device_utilisation", {**of, "device": "cpu"}) is None


@pytest.mark.parametrize("driver", [None, Driver(50, there=False), Driver()], ids=["no binding", "no driver", "no GPU"])
def test_a_machine_of_cpus_is_no_failure(driver: Driver | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engines' busy share stands for its device."""
    monkeypatch.setitem(sys.modules, "pynvml", driver)  # None: its import fails
    assert list(device.gpus()) == []
