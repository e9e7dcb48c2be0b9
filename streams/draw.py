"""The topology as text, Mermaid and Markdown: what `aios topology` prints and the README shows. Pure.

Enters: the stages of topology.py. Leaves: text. Guaranteed: nothing is drawn that is not declared there; each
topic between stages is one edge label, each group's own topics (dead letters, retry, state) stand in the tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from aios.streams import topology
from aios.streams.topics import Cleanup
from aios.streams.topology import STAGES, Stage

MANY = 4  # processes that write a topic: from here on it comes from one node
EVERY = "every[any stage]"
OF_EACH = re.compile(r"^(inference|connector)\..+\.(requested\.v1)$")


def text(stages: Iterable[Stage] = STAGES) -> str:
    """A stage a block: what it does, reads and writes."""
    return "\n".join(line for stage in stages for line in _block(stage)).rstrip()


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
    """A flowchart: an arrow for what goes from one process to another.

    Lanes of one model and systems of one process are drawn as one. What nearly every stage writes (the audit) comes
    from one node, and so do dead letters and retries.
    """
    sources = _label(topic.name for topic in topology.ADMIT.reads)
    lines = ["flowchart LR", "    producers([producers]) --> gateway", f"    producers -->|{sources}| admit"]
    lines += [f"    {source} -->|{_label(names)}| {target}" for (source, target), names in _edges().items()]
    lines += [
        "    every -.->|aios.retry.5s<br/>aios.retry.1m<br/>aios.retry.10m| retry",
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


def _edges() -> dict[tuple[str, str], list[str]]:
    """Topics by who writes and who reads them, in the order of the stages."""
    writers: dict[str, dict[str, None]] = {}
    for stage in STAGES:
        for topic in stage.writes:
            writers.setdefault(topic.name, {})[stage.process] = None
    edges: dict[tuple[str, str], list[str]] = {}
    for stage in STAGES:
        for topic in stage.reads:
            writing = list(writers.get(topic.name, ()))
            for writer in [EVERY] if len(writing) >= MANY else writing:
                if writer != stage.process:
                    edges.setdefault((writer, stage.process), []).append(topic.name)
    return edges


def _label(names: Iterable[str]) -> str:
    """One line a topic; of those that differ in the pool or system alone, one for all."""
    return "<br/>".join(dict.fromkeys(OF_EACH.sub(r"\1.*.\2", name) for name in names))


def topics_table() -> str:
    """Markdown: every topic with key, family and retention."""
    rows = ["| topic | key | partitions | kept |", "|---|---|---|---|"]
    for topic in topology.all_topics().values():
        kept = "compacted" if topic.cleanup is Cleanup.COMPACT else f"{topic.retention_hours // 24} days"
        rows.append(f"| `{topic.name}` | {topic.key} | {topic.family} | {kept} |")
    return "\n".join(rows)
