"""`aios pools`: every pool of model workers as its file declares it, and how it stands in the running system.

Enters: the pools (streams/installed.py), and the metrics ports of this home's workers (inference_workers/measures.py)
and of plan, before which a tenant's backlog waits (processors/cases/queues.py). Leaves: a row a pool, or everything
about one. Guaranteed: without a running system here the declared part is told, and that no worker was asked; sums and
percentiles are over all workers of the pool since each of them started.
"""

from __future__ import annotations

import json
import math
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families

from aios.infra import output, pool_manifests
from aios.infra.local.home import Home
from aios.infra.output import NOT_FOUND, fail
from aios.infra.running import load_settings
from aios.streams import installed
from aios.streams.pool_files import STATUSES, Pool

ASK_S_MAX = 2.0
COLUMNS = (
    "pool",
    "model",
    "engine",
    "workers",
    "backlog",
    "work_s",
    "per_s",
    "answers",
    "p50_ms",
    "p95_ms",
    "goal_ms",
    "per_1000",
)
Sample = tuple[str, Mapping[str, str], float]


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option("--kubernetes", is_flag=True, help="Print manifests: workers, and what scales them.")
def pools(*, name: str | None, as_json: bool, kubernetes: bool) -> None:
    """The pools of model workers: what each serves, its work queued, rate, latency and cost; NAME: all of one.

    backlog: what waits, in the pool's topic and before it for a turn (`turns`, of one pool). work_s: seconds of one
    worker's work that is. per_s: answers a second of one worker while it has work; read_per_s, written_per_s (of one
    pool): its tokens.
    per_1000: price of a thousand answers, in money.currency.
    """
    declared = installed.pools()
    if kubernetes:
        click.echo(pool_manifests.manifests(declared.values()), nl=False)
        return
    if name is not None and name not in declared:
        fail(f"there is no pool {name}; there are {', '.join(declared)}", NOT_FOUND)
    settings = load_settings()
    home = Home(settings.home)
    if not home.is_held():
        click.echo(f"nothing runs in {home.folder}, and no worker was asked: those elsewhere tell Prometheus", err=True)
    read, by = _read(home), settings.inference.engine  # of all pools, where the settings name one
    plan = read["plan"]
    found = [state(pool, read[pool.process], plan) | ({"engine": by} if by else {}) for pool in declared.values()]
    if name is not None:
        (one,) = [each for each in found if each["pool"] == name]
        output.one(one | _declared(declared[name]), as_json=as_json)
        return
    output.rows(found, COLUMNS, as_json=as_json, none="there are no pools")


def state(pool: Pool, workers: Sequence[Sequence[Sample]], plan: Sequence[Sequence[Sample]] = ()) -> dict[str, Any]:
    """How a pool stands, given what each of its workers measures, and each process of plan. Pure."""
    samples = [sample for process in (*workers, *plan) for sample in process]
    return {
        "pool": pool.pool,
        "does": pool.does,
        "task": pool.task,
        "model": pool.model,
        "engine": pool.engine,
        "workers": len(workers),
        "goal_ms": pool.objective.p95_ms,
        **_work(_Of(samples, {"pool": pool.pool}), len(workers)),
        **_engine(samples, pool),
    }


class _Of:
    """The samples that have these labels."""

    def __init__(self, samples: Iterable[Sample], labels: Mapping[str, str]) -> None:
        self._samples = [each for each in samples if labels.items() <= each[1].items()]

    def total(self, name: str, kind: str = "") -> float:
        """kind: one of its labels' values; empty: all."""
        return sum(value for each, has, value in self._samples if each == name and (not kind or kind in has.values()))

    def mean(self, name: str, kind: str = "") -> float:
        """The same over whoever has it; 0 where nobody does."""
        found = [value for each, has, value in self._samples if each == name and (not kind or kind in has.values())]
        return sum(found) / max(1, len(found))

    def ms(self, share: float, name: str) -> int | None:
        seconds = quantile(share, self._samples, f"{name}_bucket")
        return None if seconds is None else round(seconds * 1000)


def _work(of: _Of, workers: int) -> dict[str, Any]:
    """What waits and what was answered."""
    answers = {status: round(of.total("aios_inference_answers_total", status)) for status in STATUSES}
    count, cost = sum(answers.values()), of.total("aios_inference_cost_micro_total")
    turns, per_s = round(of.total("aios_turns_waiting")), of.total("aios_answers_per_second") / max(1, workers)
    return {
        "backlog": round(of.total("aios_backlog_records")) + turns,
        "turns": turns,
        "work_s": round(of.total("aios_work_queued_seconds") + (turns / per_s if per_s else 0.0), 1),
        "per_s": round(per_s, 1) if workers else None,
        "answers": count,
        **{f"answers_{status}": value for status, value in answers.items()},
        "refused": round(of.total("aios_inference_refused_total")),
        "cached": round(of.total("aios_answer_cache_hits_total")),
        **{f"p{share}_ms": of.ms(share / 100, "gen_ai_server_request_duration_seconds") for share in (50, 95, 99)},
        "queue_p95_ms": of.ms(0.95, "aios_request_queue_time_seconds"),
        "first_token_p95_ms": of.ms(0.95, "gen_ai_server_time_to_first_token_seconds"),
        "tokens_read": round(of.total("gen_ai_client_token_usage_sum", "input")),
        "tokens_written": round(of.total("gen_ai_client_token_usage_sum", "output")),
        "read_per_s": round(of.mean("aios_tokens_per_second", "input"), 1),
        "written_per_s": round(of.mean("aios_tokens_per_second", "output"), 1),
        "engine_s": round(of.total("aios_engine_seconds_total"), 1),
        "per_1000": round(cost / 1_000_000 * 1000 / count, 4) if count else None,
    }


def _engine(samples: Iterable[Sample], pool: Pool) -> dict[str, Any]:
    """Of the engines that serve the lane, which they may share with the other one: running and waiting are the lane's
    own; shares are means over engines, of which a canary may have a second one in each worker.
    """
    own = [each for each in samples if pool.lane in each[1].get("lanes", "").split("+")]
    of = _Of(own, {"process": pool.process})
    lane = _Of(own, {"process": pool.process, "lane": pool.lane})
    looked_up, hits = (of.total("aios_prefix_cache_tokens_total", outcome) for outcome in ("queries", "hits"))
    return {
        "running": round(lane.total("aios_num_requests_running")),
        "waiting": round(lane.total("aios_num_requests_waiting")),
        "batch_fill": round(of.mean("aios_batch_fill"), 2),
        "kv_used": round(of.mean("aios_kv_cache_usage_perc"), 3),
        "devices_busy": round(of.total("aios_device_utilisation"), 2),
        "prefix_hits": round(hits / looked_up, 2) if looked_up else None,
    }


def quantile(share: float, samples: Iterable[Sample], name: str) -> float | None:
    """Of a histogram's buckets, summed over workers, as Prometheus does it: linear within a bucket. None: empty.

    In the last bucket, which has no end, its beginning.
    """
    counts: dict[float, float] = defaultdict(float)
    for each, has, value in samples:
        if each == name:
            counts[float(has["le"])] += value
    ends = sorted(counts)
    if not ends or not counts[ends[-1]]:
        return None
    rank, start, below = share * counts[ends[-1]], 0.0, 0.0
    for end in ends:
        if counts[end] >= rank and counts[end] > below:
            if math.isinf(end):
                return start
            return start + (end - start) * (rank - below) / (counts[end] - below)
        start, below = end, counts[end]
    return start


def _declared(pool: Pool) -> dict[str, Any]:
    """What its file says beside what the list shows."""
    return {
        "weights": pool.weights,
        "fallback": pool.fallback,
        "retries": list(pool.retries),
        **pool.limits.model_dump(),
        **pool.engine_options.said(),
        **{f"price_{name}": micro for name, micro in pool.price.model_dump().items()},
    }


def _read(home: Home) -> Mapping[str, list[list[Sample]]]:
    """By process, what each of its workers measures; one that does not answer is not counted."""
    found: dict[str, list[list[Sample]]] = defaultdict(list)
    for file in sorted(home.metrics.glob("*.json")) if home.is_held() else ():
        try:
            (said,) = json.loads(file.read_text(encoding="utf-8"))
            found[said["labels"]["process"]].append(_scraped(said["targets"][0]))
        except (OSError, ValueError):
            continue  # it has just ended, or just begins
    return found


def _scraped(target: str) -> list[Sample]:
    with urllib.request.urlopen(f"http://{target}/metrics", timeout=ASK_S_MAX) as answer:
        text = answer.read().decode()
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
