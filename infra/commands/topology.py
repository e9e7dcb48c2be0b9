"""`aios topology`: the graph of stages and topics, as declared. Needs no running system."""

from __future__ import annotations

import json

import click

from aios.streams import draw
from aios.streams.topology import STAGES

FORMATS = {"text": draw.text, "mermaid": draw.mermaid, "topics": draw.topics_table}


@click.command()
@click.option("--format", "as_format", type=click.Choice([*FORMATS, "json"]), default="text", show_default=True)
def topology(as_format: str) -> None:
    """Print stages, groups, topics and objectives."""
    if as_format != "json":
        click.echo(FORMATS[as_format]())
        return
    stages = [
        {
            "stage": stage.name,
            "kind": stage.kind,
            "process": stage.process,
            "group": stage.group if stage.reads else None,
            "reads": [topic.name for topic in stage.reads],
            "writes": [topic.name for topic in stage.writes],
            "p95_ms": stage.objective.p95_ms,
            "success": stage.objective.success,
        }
        for stage in STAGES
    ]
    click.echo(json.dumps(stages, indent=2))
