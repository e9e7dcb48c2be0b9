"""Alerts and dashboard: made from the topology, and every expression asks for what processes really tell."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY

import aios.dlq
import aios.inference_workers
import aios.processors
import aios.sinks
import aios.streams
from aios.infra import alerts, cli, dashboard
from aios.streams import installed, topology

FOLDER = Path(__file__).parents[2] / "infra" / "prometheus"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS = [query for row in dashboard.ROWS.values() for panel in row for query in panel.queries.values()]
SCRAPED = {"job", "instance", "process", "slot"}  # labels of a target
ITS_OWN = {"up": set(), "process_start_time_seconds": set()}  # Prometheus's, and the client's


def told() -> Mapping[str, set[str]]:
    """Every series that some process of ours may tell, with its labels, by the name that Prometheus keeps it under."""
    found: dict[str, set[str]] = dict(ITS_OWN)
    for package in (aios.streams, aios.processors, aios.inference_workers, aios.sinks, aios.dlq):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("vllm_core"):  # the workers' environment alone has what it needs
                importlib.import_module(module.name)
    for collector in list(REGISTRY._collector_to_names):
        name, labels = getattr(collector, "_name", ""), set(getattr(collector, "_labelnames", ()))
        match getattr(collector, "_type", ""):
            case "counter":
                found[f"{name}_total"] = labels
            case "histogram":
                found |= {f"{name}_sum": labels, f"{name}_count": labels, f"{name}_bucket": labels | {"le"}}
            case "gauge":
                found[name] = labels
    return found


TOLD = told()


def asked(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each series of an expression, with the labels that it is chosen and added up by."""
    yield from _selectors(promql_parser.parse(query), set())


def _selectors(part: Any, by: set[str]) -> Iterator[tuple[str, set[str]]]:
    match part:
        case promql_parser.VectorSelector():
            yield part.name, by | {one.name for one in part.matchers.matchers}
        case promql_parser.MatrixSelector():
            yield from _selectors(part.vector_selector, by)
        case promql_parser.AggregateExpr():
            yield from _selectors(part.expr, by | set(part.modifier.labels if part.modifier else ()))
        case promql_parser.Call():
            for argument in part.args:
                yield from _selectors(argument, by)
        case promql_parser.BinaryExpr():
            yield from _selectors(part.lhs, by)
            yield from _selectors(part.rhs, by)
        case promql_parser.ParenExpr() | promql_parser.SubqueryExpr() | promql_parser.UnaryExpr():
            yield from _selectors(part.expr, by)
        case promql_parser.NumberLiteral():
            return
        case _:
            raise AssertionError(f"what is a {type(part).__name__}?")


def unknown(query: str) -> list[str]:
    """What it asks for that nobody tells."""
    found = []
    for name, labels in asked(query):
        if name not in TOLD:
            found.append(name)
        elif wrong := labels - TOLD[name] - SCRAPED:
            found.append(f"{name}: {', '.join(sorted(wrong))}")
    return found


def test_the_shipped_files_are_those_of_the_topology() -> None:
    """`aios topology --format alerts > infra/prometheus/alerts.yaml`, likewise the dashboard, after a change of one."""
    made = alerts.rules(topology.STAGES, installed.pools().values())
    assert (FOLDER / "alerts.yaml").read_text(encoding="utf-8") == made
    assert (FOLDER / "dashboard.json").read_text(encoding="utf-8") == dashboard.document(topology.STAGES)


@pytest.mark.parametrize("query", sorted({*(rule["expr"] for rule in RULES), *PANELS}))
def test_an_expression_asks_for_what_is_told(query: str) -> None:
    assert unknown(query) == []


def test_what_nobody_tells_is_found() -> None:
    assert unknown("aios_lag_recrods > 0") == ["aios_lag_recrods"]
    assert unknown("sum by (tenant) (rate(aios_records_settled_total{stage='plan'}[5m]))") == [
        "aios_records_settled_total: tenant"
    ]
    assert unknown("aios_records_settled > 0") == ["aios_records_settled"]  # a counter's series end in _total


def _watches(name: str) -> list[str]:
    """The stages of an alert, once for each rule that names them."""
    found = []
    for rule in RULES:
        if rule["alert"] == name:
            (names,) = set(re.findall(r'stage=~"([^"]+)"', rule["expr"]))
            found += [one.replace(r"\\.", ".") for one in names.split("|")]
    return found


def test_every_stage_and_process_and_pool_is_watched_once() -> None:
    reading = sorted(stage.name for stage in topology.STAGES if stage.reads)
    assert sorted(_watches("AiosStageLate")) == reading
    assert sorted(_watches("AiosStageFails")) == reading
    away = [rule["labels"]["process"] for rule in RULES if rule["alert"] == "AiosProcessAway"]
    assert sorted(away) == sorted(topology.PROCESSES)
    behind = [rule["labels"]["pool"] for rule in RULES if rule["alert"] == "AiosPoolBehind"]
    assert sorted(behind) == sorted(installed.pools())


def test_a_stage_is_late_beyond_its_own_objective() -> None:
    for stage in topology.STAGES:
        if stage.reads:
            (rule,) = (
                rule
                for rule in RULES
                if rule["alert"] == "AiosStageLate" and stage.name.replace(".", r"\\.") in _names(rule["expr"])
            )
            assert rule["expr"].endswith(f" > {stage.objective.p95_ms / 1000:g}")


def _names(query: str) -> list[str]:
    return [one for names in re.findall(r'stage=~"([^"]+)"', query) for one in names.split("|")]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule['alert']}-{rule['expr'][:40]}")
def test_an_alert_says_what_to_run(rule: Mapping[str, Any]) -> None:
    """Each command exists, and the rule has the labels that its sentence and its command are filled with."""
    for command in rule["annotations"]["run"].split("; "):
        program, *words = command.split()
        assert program == "aios"
        found: click.Command | None = cli.aios
        while isinstance(found, click.Group):
            found = found.get_command(click.Context(found), words.pop(0))
        assert found is not None, command
        known = [option for parameter in found.params for option in parameter.opts]
        assert not [word for word in words if word.startswith("--") and word not in known]
    shown = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    labels = {label for _, by in asked(rule["expr"]) for label in by}
    assert shown <= labels | set(rule["labels"])


def test_the_dashboard_can_be_imported() -> None:
    """Ids are distinct, nothing lies over another, every panel's source is the one that is chosen."""
    found = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    places = set()
    for panel in found["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places
        assert max(x for x, _ in cells) < 24
        places |= cells
        assert all(target["datasource"]["uid"] == "${source}" for target in panel.get("targets", ()))
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])


PROMTOOL = shutil.which("promtool")
SETTLED = 'aios_records_settled_total{{process="plan",stage="plan",topic="t",verdict="{verdict}"}}'
LAG = 'aios_lag_records{{process="{stage}",stage="{stage}",topic="t",partition="0"}}'
CASES: Mapping[str, tuple[dict[str, str], set[tuple[str, str]]]] = {
    "a stage that does what comes": (
        {SETTLED.format(verdict="done"): "0+600x120", LAG.format(stage="plan"): "5x120"},
        set(),
    ),
    "one bad record among many": (
        {SETTLED.format(verdict="done"): "0+6000x120", SETTLED.format(verdict="dead_letter"): "0x60 1x60"},
        set(),
    ),
    "one of fifty fails, now and for an hour": (
        {SETTLED.format(verdict="done"): "0+98x120", SETTLED.format(verdict="dead_letter"): "0+2x120"},
        {("AiosStageFails", "page")},
    ),
    "one of fifty failed, and that is over": (
        {SETTLED.format(verdict="done"): "0+98x120", SETTLED.format(verdict="dead_letter"): "0+2x100 202x20"},
        set(),
    ),
    "records to do and none is done, but those of retry, which wait": (
        {
            SETTLED.format(verdict="done"): "0+60x60 3600x60",
            LAG.format(stage="plan"): "7x120",
            LAG.format(stage="retry"): "7x120",
        },
        {("AiosStageStuck", "page")},
    ),
    "letters grow old": (
        {'aios_dead_letter_oldest_share{process="letters",group="aios.admit"}': "0.6x120"},
        {("AiosDeadLettersOld", "ticket")},
    ),
    "questions are about to expire": (
        {'aios_review_oldest_share{process="outcomes",workflow="kyc.review"}': "0.95x120"},
        {("AiosQuestionsOld", "ticket"), ("AiosQuestionsOld", "page")},
    ),
    "a process starts again and again": (
        {'process_start_time_seconds{job="aios",process="plan",slot="0"}': "0+60x120"},
        {("AiosProcessRestarts", "ticket")},
    ),
}


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool: `apt-get install prometheus`")
@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_for_what_it_says_and_for_nothing_else(name: str, tmp_path: Path) -> None:
    """By Prometheus's own evaluation, two hours in, a sample a minute; every process is up."""
    series, fires = CASES[name]
    up = {f'up{{job="aios",process="{process}",slot="0"}}': "1x120" for process in topology.PROCESSES}
    fired = {(rule["alert"], rule["labels"]["severity"]) for rule in RULES}
    asked = [
        {"expr": f'count(ALERTS{{alertname="{alert}",severity="{severity}",alertstate="firing"}})', "eval_time": "2h"}
        | {"exp_samples": [{"labels": "{}", "value": 1}] if (alert, severity) in fires else []}
        for alert, severity in sorted(fired)
    ]
    test = {
        "rule_files": [str(FOLDER / "alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": one, "values": values} for one, values in (up | series).items()],
                "promql_expr_test": asked,
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(test), encoding="utf-8")
    done = subprocess.run([str(PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
