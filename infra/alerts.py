"""Alerts for Prometheus: what an operator must know before users do (infra/prometheus/alerts.yaml).

Enters: stages and pools with their objectives (topology.py, streams/installed.py). Leaves: rules, as YAML. Pure.
Guaranteed: every stage's objective is watched, whichever stages there are; each alert says what it means for cases and
which command to run next; `page` is for what loses data or keeps cases from going on, `ticket` for what can wait until
the morning. A test holds every expression against the metrics and labels that processes really tell.

What fails is measured against the error budget of the objective (1 - success), over an hour and over the last minutes
together, so that neither a single bad record nor what is over already wakes anybody.
Rejected: alerts on lag (records are no measure of delay: the P95 of a record's way is), on CPU or memory (causes, which
may be somebody's intention).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aios.infra import pods
from aios.infra.pool_manifests import accepted_s
from aios.streams import topology
from aios.streams.pool_files import Pool
from aios.streams.topology import Stage

Severity = Literal["page", "ticket"]

JOB = "aios"  # of infra/prometheus's scrape configurations; its labels `process` and `slot` are ours
BURN = 14.4  # times the budget: a month's is gone in two days
LATE_MIN, AWAY_MIN, STUCK_MIN, PAUSED_MIN = 10, 2, 10, 10
RESTARTS_MAX = 3  # in half an hour
BEHIND = 4  # times the work that may wait for a worker before more of them are started
OLD: Sequence[tuple[float, Severity]] = ((0.5, "ticket"), (0.9, "page"))
"""Shares of the time in which a dead letter may return, or a question be answered."""

HEAD = """\
# Alerts on objectives, made by `aios topology --format alerts`, compared by a test. severity: page, or ticket.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule. minutes: for how long `expr` (PromQL) must hold. says, run: templates of Prometheus. labels: its own,
    which tell rules of one name apart.
    """

    name: str
    expr: str
    minutes: int
    severity: Severity
    says: str
    run: str
    labels: Mapping[str, str] = field(default_factory=dict)


def rules(stages: Sequence[Stage], pools: Iterable[Pool]) -> str:
    """The whole file."""
    groups = {
        "aios.processes": _processes(stages),
        "aios.stages": _stages(stages),
        "aios.letters": _letters(),
        "aios.pools": _pools(pools),
        "aios.outside": _outside(),
        "aios.people": _people(),
    }
    shown = [{"name": name, "rules": [_rule(one) for one in found]} for name, found in groups.items()]
    return pods.written(HEAD, [{"groups": shown}])


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": f"{alert.minutes}m",
        "labels": {"severity": alert.severity, **alert.labels},
        "annotations": {"summary": alert.says, "run": alert.run},
    }


def _processes(stages: Sequence[Stage]) -> Iterator[Alert]:
    for process in dict.fromkeys(stage.process for stage in stages):
        yield Alert(
            name="AiosProcessAway",
            expr=f'absent(up{{job="{JOB}",process="{process}"}} == 1)',
            minutes=AWAY_MIN,
            severity="page",
            says=f"no {process} answers: what it does waits",
            run=f"aios status; aios logs {process}",
            labels={"process": process},
        )
    started = f'max by (process, slot) (process_start_time_seconds{{job="{JOB}"}})'
    yield Alert(
        name="AiosProcessRestarts",
        expr=f"changes({started}[30m:1m]) > {RESTARTS_MAX}",
        minutes=0,
        severity="ticket",
        says="{{ $labels.process }}.{{ $labels.slot }} started {{ $value }} times in half an hour",
        run="aios logs {{ $labels.process }}",
    )


def _stages(stages: Sequence[Stage]) -> Iterator[Alert]:
    by_p95, by_success = defaultdict(list), defaultdict(list)
    for stage in stages:
        if stage.reads:
            by_p95[stage.objective.p95_ms].append(stage.name)
            by_success[stage.objective.success].append(stage.name)
    for p95_ms, names in sorted(by_p95.items()):
        took = f'sum by (process, stage, le) (rate(aios_record_seconds_bucket{{stage=~"{_any(names)}"}}[5m]))'
        yield Alert(
            name="AiosStageLate",
            expr=f"histogram_quantile(0.95, {took}) > {p95_ms / 1000:g}",
            minutes=LATE_MIN,
            severity="ticket",
            says=f"{{{{ $labels.stage }}}} takes {{{{ $value | humanizeDuration }}}} at P95, more than {_took(p95_ms)}",
            run="aios slo; aios scale {{ $labels.process }}",
            labels={"objective": _took(p95_ms)},
        )
    for success, names in sorted(by_success.items()):
        settled = f'aios_records_settled_total{{stage=~"{_any(names)}"'
        yield Alert(
            name="AiosStageFails",
            expr=_burns("process, stage", f'{settled},verdict="dead_letter"}}', f"{settled}}}", 1 - success),
            minutes=2,
            severity="page",
            says="{{ $value | humanizePercentage }} of what {{ $labels.stage }} takes become dead letters",
            run="aios dlq groups",
            labels={"objective": f"{success:.2%}"},
        )
    works = f'{{stage!="{topology.RETRY.name}"}}'  # which holds records until they are due
    lag = f"sum by (process, stage) (aios_lag_records{works})"
    settled = "sum by (process, stage) (increase(aios_records_settled_total[10m]))"
    yield Alert(
        name="AiosStageStuck",
        expr=f"{lag} > 0 unless {settled} > 0",
        minutes=STUCK_MIN,
        severity="page",
        says="{{ $labels.stage }} has {{ $value }} records to do and finishes none",
        run="aios breaker list; aios logs {{ $labels.process }}",
    )
    yield Alert(
        name="AiosPartitionPaused",
        expr="max by (stage, topic, partition) (aios_partition_paused) == 1",
        minutes=PAUSED_MIN,
        severity="page",
        says="{{ $labels.stage }} takes nothing of {{ $labels.topic }}/{{ $labels.partition }}",
        run="aios breaker list",
    )
    yield Alert(
        name="AiosBreakerOpen",
        expr="max by (stage, scope) (aios_breakers_open) > 0",
        minutes=5,
        severity="page",
        says="a breaker of {{ $labels.stage }} ({{ $labels.scope }}) is open: too much fails for an unknown reason",
        run="aios breaker list",
    )
    yield Alert(
        name="AiosRecordsOvertaken",
        expr="sum by (process, stage, topic) (increase(aios_records_overtaken_total[1h])) > 0",
        minutes=0,
        severity="page",
        says="retention took {{ $value }} records of {{ $labels.topic }} before {{ $labels.stage }} read them",
        run="aios logs {{ $labels.process }}",
    )
    yield Alert(
        name="AiosKafkaRefuses",
        expr="sum by (process) (increase(aios_records_undelivered_total[5m])) > 0",
        minutes=AWAY_MIN,
        severity="page",
        says="Kafka acknowledges not all that {{ $labels.process }} writes",
        run="aios doctor",
    )
    answered = 'aios_http_request_seconds_count{process=~"gateway|operations"'
    yield Alert(
        name="AiosServerFails",
        expr=_burns("process", f'{answered},status=~"5.."}}', f"{answered}}}", 1 - topology.GATEWAY.objective.success),
        minutes=2,
        severity="page",
        says="{{ $value | humanizePercentage }} of what {{ $labels.process }} is asked end with a 5xx",
        run="aios doctor; aios logs {{ $labels.process }}",
    )


def _letters() -> Iterator[Alert]:
    for share, severity in OLD:
        yield Alert(
            name="AiosDeadLettersOld",
            expr=f"max by (group) (aios_dead_letter_oldest_share) > {share:g}",
            minutes=5,
            severity=severity,
            says="the oldest dead letter of {{ $labels.group }} has used {{ $value | humanizePercentage }} of the time "
            "in which it may return",
            run="aios dlq groups --group {{ $labels.group }}",
        )
    yield Alert(
        name="AiosKeysParked",
        expr="sum by (stage) (aios_keys_parked) > 0",
        minutes=60,
        severity="ticket",
        says="{{ $value }} keys of {{ $labels.stage }} wait behind a dead letter of theirs",
        run="aios dlq groups --group aios.{{ $labels.stage }}",
    )


def _pools(pools: Iterable[Pool]) -> Iterator[Alert]:
    for pool in pools:
        of = f'{{pool="{pool.pool}"}}'
        yield Alert(
            name="AiosPoolBehind",
            expr=f"avg by (pool) (aios_work_queued_seconds{of}) > {BEHIND * accepted_s(pool):g}",
            minutes=LATE_MIN,
            severity="ticket",
            says="{{ $value | humanizeDuration }} of work wait for each worker of {{ $labels.pool }}",
            run="aios pools; aios scale " + pool.process,
            labels={"pool": pool.pool},
        )
        answers = "aios_inference_answers_total" + of[:-1]
        yield Alert(
            name="AiosPoolFails",
            expr=_burns("pool", f'{answers},status=~"failed|expired"}}', f"{answers}}}", 1 - pool.objective.success),
            minutes=5,
            severity="ticket",
            says="{{ $value | humanizePercentage }} of what {{ $labels.pool }} is asked fail or come too late",
            run="aios pools; aios logs " + pool.process,
            labels={"pool": pool.pool},
        )
    yield Alert(
        name="AiosCanaryReturned",
        expr="sum by (model) (increase(aios_canary_returned_total[1h])) > 0",
        minutes=0,
        severity="ticket",
        says="the canary {{ $labels.model }} was worse than what serves, and went back",
        run="aios model watch",
    )
    yield Alert(
        name="AiosDrift",
        expr="max by (subject, measure) (aios_drift_moved) == 1",
        minutes=30,
        severity="ticket",
        says="{{ $labels.measure }} of {{ $labels.subject }} is no longer what it was",
        run="aios model watch",
    )


def _outside() -> Iterator[Alert]:
    yield Alert(
        name="AiosSystemAway",
        expr="max by (system) (aios_connector_circuit) == 2",
        minutes=5,
        severity="ticket",
        says="{{ $labels.system }} is away; its commands wait for as long as their cases may",
        run="aios breaker list; aios system list",
    )
    yield Alert(
        name="AiosSoftLimitPassed",
        expr="sum(increase(aios_budget_soft_passed_total[1h])) > 0",
        minutes=0,
        severity="ticket",
        says="{{ $value }} budgets passed their soft limit within the hour",
        run="aios budget show",
    )


def _people() -> Iterator[Alert]:
    for share, severity in OLD:
        yield Alert(
            name="AiosQuestionsOld",
            expr=f"max by (workflow) (aios_review_oldest_share) > {share:g}",
            minutes=5,
            severity=severity,
            says="a question of {{ $labels.workflow }} has used {{ $value | humanizePercentage }} of the time in which "
            "people may answer it",
            run="aios review stats; aios review list",
        )


def _burns(by: str, bad: str, every: str, budget: float) -> str:
    """The share of what is bad, while it is beyond BURN budgets over an hour and over five minutes."""
    long, short = (f"sum by ({by}) (rate({bad}[{of}])) / sum by ({by}) (rate({every}[{of}]))" for of in ("1h", "5m"))
    return f"{long} > {BURN * budget:g} and {short} > {BURN * budget:g}"


def _any(names: Iterable[str]) -> str:
    """One of these, as a regular expression of a matcher in double quotes."""
    return "|".join(name.replace(".", r"\\.") for name in names)


def _took(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:g} s"
