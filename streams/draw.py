"""The topology as text, Mermaid and Markdown: what `aios topology` prints and the README shows. Pure.

Enters: the stages of topology.py. Leaves: text. Guaranteed: nothing is drawn that is not declared there; each
topic between stages is one edge label, each group's own topics (dead letters, retry, state) stand in the tables.
"""

from __future__ import annotations

from collections.abc import Iterator

from aios.streams import topology
from aios.streams.topics import Cleanup
from aios.streams.topology import STAGES, Stage


def text() -> str:
    """A stage a block: what it does, reads and writes."""
    return "\n".join(line for stage in STAGES for line in _block(stage)).rstrip()


def _block(stage: Stage) -> Iterator[str]:
    yield f"{stage.name}  ({stage.kind}, process {stage.process})  {stage.does}"
    if stage.reads:
        yield f"    group      {stage.group}"
    for topic in stage.reads:
        yield f"    reads   ◀─ {topic.name}"
    for topic in stage.writes:
        yield f"    writes  ─▶ {topic.name}"
    if stage.reads:
        yield f"    own        {stage.retries.name}, {stage.dead_letters.name}" + (
            f", {stage.changelog.name}" if stage.changelog else ""
        )
    yield f"    objective  P95 {stage.objective.p95_ms} ms, {stage.objective.success:.1%} without dead letter"
    yield ""


def mermaid() -> str:
    """A flowchart: an arrow for each topic between two stages; dead letters and retries as one edge each."""
    lines = ["flowchart LR", "    producers([producers]) --> gateway", "    producers -->|document.received.v1| admit"]
    writers: dict[str, list[str]] = {}
    for stage in STAGES:
        for topic in stage.writes:
            writers.setdefault(topic.name, []).append(_node(stage))
    edges: dict[tuple[str, str], list[str]] = {}
    for stage in STAGES:
        for topic in stage.reads:
            for writer in dict.fromkeys(writers.get(topic.name, [])):
                if writer != _node(stage):
                    edges.setdefault((writer, _node(stage)), []).append(topic.name)
    lines += [f"    {source} -->|{_label(names)}| {target}" for (source, target), names in edges.items()]
    lines += [
        "    every[any group] -.->|aios.retry.5s<br/>aios.retry.1m<br/>aios.retry.10m| retry",
        "    retry -.->|its own .retry| every",
        "    every -.->|its own .dlq| dead[(dead letters)]",
        "    operator([operator]) --> operations",
        "    replay -->|operation.answered.v1| operations",
        "    dead --> replay",
        "    replay -.->|its own .retry| every",
        "    lake --> analysts([analysts])",
        "    outcomes --> gateway",
        "    reviewers([reviewers]) --> gateway",
    ]
    return "\n".join(lines)


def _node(stage: Stage) -> str:
    """Lanes of one model run in one process and are drawn as one."""
    return stage.process


def _label(names: list[str]) -> str:
    return "<br/>".join(dict.fromkeys(names))


def topics_table() -> str:
    """Markdown: every topic with key, family and retention."""
    rows = ["| topic | key | partitions | kept |", "|---|---|---|---|"]
    for topic in topology.all_topics().values():
        kept = "compacted" if topic.cleanup is Cleanup.COMPACT else f"{topic.retention_hours // 24} days"
        rows.append(f"| `{topic.name}` | {topic.key} | {topic.family} | {kept} |")
    return "\n".join(rows)
