"""The dashboard for Grafana (infra/prometheus/dashboard.json): what comes, how long it takes, what fails and costs.

Enters: stages with their objectives (topology.py). Leaves: a dashboard in Grafana's JSON, to be imported. Pure.
Guaranteed: what alerts watch (alerts.py) is seen here, from the events that arrive, by stage, pool and outside system,
to people; no panel is by tenant or case, for no metric is. The same test as for alerts holds every expression against
the metrics that processes tell. Rejected: panels drawn by hand in Grafana (they rot when a stage is added or renamed).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aios.streams.topology import Stage

WIDTH, HEIGHT = 8, 8  # of a panel; a dashboard is 24 wide
SOURCE = {"type": "prometheus", "uid": "${source}"}
SECONDS, SHARE, PER_S, COUNT = "s", "percentunit", "ops", "short"  # Grafana's units


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """queries: PromQL, by the legend of what it finds."""

    title: str
    unit: str
    queries: dict[str, str]


ROWS: dict[str, Sequence[Panel]] = {
    "Events and decisions": (
        Panel(
            title="Admitted, decided and refused",
            unit=PER_S,
            queries={
                "admitted": 'sum(rate(aios_records_settled_total{stage="plan",topic="case.admitted.v1"}[5m]))',
                "decided": 'sum(rate(aios_records_settled_total{stage="outcomes",topic="case.decided.v1"}[5m]))',
                "refused": 'sum(rate(aios_records_settled_total{stage="outcomes",topic="event.refused.v1"}[5m]))',
            },
        ),
        Panel(
            title="HTTP answers",
            unit=PER_S,
            queries={
                "{{process}} {{status}}": "sum by (process, status) (rate(aios_http_request_seconds_count[5m]))",
                "rejected: {{reason}}": "sum by (reason) (rate(aios_http_rejected_total[5m]))",
            },
        ),
        Panel(
            title="Waits for its turn at a pool or system",
            unit=COUNT,
            queries={"{{pool}}": "sum by (pool) (aios_turns_waiting)"},
        ),
    ),
    "Stages": (
        Panel(
            title="P95 of a record's way, to the acknowledged output",
            unit=SECONDS,
            queries={
                "{{stage}}": "histogram_quantile(0.95, sum by (stage, le) (rate(aios_record_seconds_bucket[5m])))",
            },
        ),
        Panel(title="Records to do", unit=COUNT, queries={"{{stage}}": "sum by (stage) (aios_lag_records) > 0"}),
        Panel(
            title="Records done",
            unit=PER_S,
            queries={"{{stage}}": "sum by (stage) (rate(aios_records_settled_total[5m]))"},
        ),
        Panel(
            title="Paused partitions, open breakers, parked keys",
            unit=COUNT,
            queries={
                "{{stage}} paused": "sum by (stage) (aios_partition_paused) > 0",
                "{{stage}} breakers": "max by (stage) (aios_breakers_open) > 0",
                "{{stage}} parked": "sum by (stage) (aios_keys_parked) > 0",
            },
        ),
        Panel(
            title="Became dead letters",
            unit=SHARE,
            queries={
                "{{stage}}": 'sum by (stage) (rate(aios_records_settled_total{verdict="dead_letter"}[5m])) / '
                "sum by (stage) (rate(aios_records_settled_total[5m]))"
            },
        ),
        Panel(
            title="Dead letters that wait, and how old the oldest is",
            unit=COUNT,
            queries={
                "{{group}}": "max by (group) (aios_dead_letters_waiting) > 0",
                "{{group}} oldest, of its time": "max by (group) (aios_dead_letter_oldest_share) > 0",
            },
        ),
    ),
    "Pools": (
        Panel(
            title="Work queued, for each worker",
            unit=SECONDS,
            queries={"{{pool}}": "avg by (pool) (aios_work_queued_seconds)"},
        ),
        Panel(
            title="Request to answer, P50 and P99",
            unit=SECONDS,
            queries={
                f"{{{{pool}}}} P{of * 100:.0f}": f"histogram_quantile({of}, sum by (pool, le) "
                "(rate(gen_ai_server_request_duration_seconds_bucket[5m])))"
                for of in (0.5, 0.99)
            },
        ),
        Panel(
            title="Time to first token, P95",
            unit=SECONDS,
            queries={
                "{{pool}}": "histogram_quantile(0.95, sum by (pool, le) "
                "(rate(gen_ai_server_time_to_first_token_seconds_bucket[5m])))"
            },
        ),
        Panel(
            title="Tokens a second",
            unit=COUNT,
            queries={
                "{{pool}} {{gen_ai_token_type}}": "sum by (pool, gen_ai_token_type) "
                "(rate(gen_ai_client_token_usage_sum[5m]))"
            },
        ),
        Panel(
            title="Batch, KV cache and device in use",
            unit=SHARE,
            queries={
                "{{process}}.{{slot}} batch": "aios_batch_fill",
                "{{process}}.{{slot}} KV cache": "aios_kv_cache_usage_perc",
                "{{process}}.{{slot}} {{device}}": "aios_device_utilisation",
            },
        ),
        Panel(
            title="Answers by what became of them; known already",
            unit=PER_S,
            queries={
                "{{pool}} {{status}}": "sum by (pool, status) (rate(aios_inference_answers_total[5m]))",
                "{{pool}} from the cache": "sum by (pool) (rate(aios_answer_cache_hits_total[5m]))",
            },
        ),
        Panel(
            title="Price, in millionths a second",
            unit=COUNT,
            queries={"{{pool}}": "sum by (pool) (rate(aios_inference_cost_micro_total[5m]))"},
        ),
        Panel(
            title="Drift, and a canary beside what serves",
            unit=SHARE,
            queries={
                "{{subject}} {{measure}}": "max by (subject, measure) (aios_drift_distance)",
                "{{model}} {{side}} {{measure}}": "max by (model, side, measure) (aios_canary)",
            },
        ),
    ),
    "Outside systems and people": (
        Panel(
            title="Calls",
            unit=PER_S,
            queries={"{{system}} {{outcome}}": "sum by (system, outcome) (rate(aios_connector_calls_total[5m]))"},
        ),
        Panel(
            title="A call, P95",
            unit=SECONDS,
            queries={
                "{{system}}": "histogram_quantile(0.95, sum by (system, le) "
                "(rate(aios_connector_call_seconds_bucket[5m])))"
            },
        ),
        Panel(
            title="Circuits: 1 half-open, 2 open",
            unit=COUNT,
            queries={"{{system}}": "max by (system) (aios_connector_circuit)"},
        ),
        Panel(
            title="Questions to people",
            unit=COUNT,
            queries={"open": "max(aios_reviews_open)"},
        ),
        Panel(
            title="The oldest question, of the time in which it may be answered",
            unit=SHARE,
            queries={"{{workflow}}": "max by (workflow) (aios_review_oldest_share)"},
        ),
        Panel(
            title="Reservations",
            unit=PER_S,
            queries={"{{status}} {{reason}}": "sum by (status, reason) (rate(aios_budget_answers_total[5m]))"},
        ),
    ),
}


def document(stages: Sequence[Stage]) -> str:
    """The whole file."""
    panels = list(_placed(stages))
    found = json.dumps(
        {
            "title": "AIOS",
            "uid": "aios",
            "schemaVersion": 39,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {
                "list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "source"}]
            },
            "panels": [{"id": number, **panel} for number, panel in enumerate(panels, start=1)],
        },
        indent=1,
    )
    return found + "\n"


def _placed(stages: Sequence[Stage]) -> Iterator[dict[str, Any]]:
    y = 0
    for title, panels in ROWS.items():
        yield {"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}
        y += 1
        for number, panel in enumerate(panels):
            yield _drawn(panel, x=number * WIDTH % 24, y=y + number * WIDTH // 24 * HEIGHT)
        y += -(-len(panels) * WIDTH // 24) * HEIGHT
    yield {
        "type": "text",
        "title": "Objectives: P95, and share without a dead letter",
        "gridPos": {"x": 0, "y": y, "w": 24, "h": HEIGHT},
        "options": {"mode": "markdown", "content": _objectives(stages)},
    }


def _drawn(panel: Panel, *, x: int, y: int) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for number, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _objectives(stages: Sequence[Stage]) -> str:
    rows = (f"| {one.name} | {one.objective.p95_ms / 1000:g} s | {one.objective.success:.2%} |" for one in stages)
    return "\n".join(("| stage | P95 | success |", "|---|---|---|", *rows))
