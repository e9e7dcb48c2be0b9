"""`aios topology`: the graph of stages and topics, and what is made of it for a cluster.

In: the topology, and of a system that runs here (or whose addresses are set) the workflows that are deployed, whose
inputs enter by topics of their own. Out: text, tables, manifests, access rules for Kafka, an AsyncAPI document.
"""

from __future__ import annotations

import json
import re
from itertools import chain

import click

from aios.infra.running import found_running
from aios.schemas.codec import Codec
from aios.schemas.registry import RegistrySource
from aios.streams import acls, asyncapi, deployments, draw, installed, topics
from aios.streams import topology as declared_topology
from aios.streams.deployments import Catalogue
from aios.streams.inputs import Input
from aios.streams.mistakes import PATTERNS
from aios.streams.part import INPUT
from aios.streams.topology import Stage

DRAWN = {"mermaid": draw.mermaid, "topics": draw.topics_table}  # as the README has them
WITH_DEPLOYED = ("text", "json", "acls", "asyncapi")
MANIFESTS = ("kubernetes", "compose")
WATCHED = ("alerts", "dashboard")  # by Prometheus and Grafana


@click.command()
@click.option(
    "--format",
    "as_format",
    type=click.Choice([*WITH_DEPLOYED, *DRAWN, *MANIFESTS, *WATCHED]),
    default="text",
    show_default=True,
)
@click.option("--declared", is_flag=True, help="Leave out what is deployed in a running system.")
@click.option(
    "--input", "contracts", multiple=True, help="An input that is about to be deployed, beside those that are."
)
def topology(as_format: str, declared: bool, contracts: tuple[str, ...]) -> None:
    """Print stages, groups, topics and objectives.

    acls: lines for kafka-acls.sh, one principal a process. text, json, acls and asyncapi know the input topics of
    deployed workflows, where a system runs here or AIOS_KAFKA__BOOTSTRAP_SERVERS, AIOS_REGISTRY__URL and
    AIOS_REDIS__URL say where one is. Where Kafka has access rules, add those of --input before the deployment.
    """
    if as_format in DRAWN:
        click.echo(DRAWN[as_format]())
    elif contracts and as_format == "asyncapi":
        raise click.UsageError("what is not deployed has no contract yet: leave out --input")
    elif as_format in MANIFESTS:
        from aios.infra import stage_manifests

        made = stage_manifests.kubernetes() if as_format == "kubernetes" else stage_manifests.compose()
        click.echo(made, nl=False)
    elif as_format in WATCHED:
        from aios.infra import alerts, dashboard

        stages, pools = declared_topology.STAGES, installed.pools().values()
        click.echo(alerts.rules(stages, pools) if as_format == "alerts" else dashboard.document(stages), nl=False)
    else:
        if wrong := [name for name in contracts if not re.fullmatch(INPUT, name)]:
            raise click.UsageError(f"--input {wrong[0]!r}: {PATTERNS[INPUT]}")
        inputs = () if declared else _deployed()
        coming = [topics.source(name) for name in contracts]
        taken = topics.distinct(chain((one.topic for one in inputs), coming))
        stages = declared_topology.taking(taken.values())
        click.echo(_told(as_format, stages, inputs))


def _told(as_format: str, stages: tuple[Stage, ...], inputs: tuple[Input, ...]) -> str:
    match as_format:
        case "acls":
            return acls.script(stages)
        case "asyncapi":
            return json.dumps(asyncapi.document(stages, inputs), indent=2, ensure_ascii=False)
        case "json":
            return json.dumps([_row(stage) for stage in stages], indent=2)
    return draw.text(stages)


def _deployed() -> tuple[Input, ...]:
    """Inputs that came with deployed workflows; none where no system is known. Raises Unavailable."""
    found = found_running()
    if found is None:
        return ()
    registry = RegistrySource(found.settings.registry.url)
    try:
        with deployments.loaded(found.settings.kafka, Codec(registry)) as tables:
            return Catalogue(tables).deployed()
    finally:
        registry.close()


def _row(stage: Stage) -> dict[str, object]:
    return {
        "stage": stage.name,
        "kind": stage.kind,
        "process": stage.process,
        "group": stage.group if stage.reads else None,
        "reads": [topic.name for topic in stage.reads],
        "writes": [topic.name for topic in stage.writes],
        "p95_ms": stage.objective.p95_ms,
        "success": stage.objective.success,
    }
