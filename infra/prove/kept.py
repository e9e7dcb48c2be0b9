"""What stands outside a topic, held against what stands in it: the audit chain, and the dead letters of every group.

Enters: a system at rest. Leaves: places of records that no line of the chain has, and numbers of dead letters.
Guaranteed: the chain's files are read as they are, not by the sink's own reader of positions, and the topics by the
proof's own eyes: a record that the sink passed over is found, though the chain of the others is whole.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

from aios.infra.prove.reading import Addresses, Eyes, Reader
from aios.streams import topology
from aios.streams.topology import AUDIT


def unchained(folder: Path, addresses: Addresses) -> list[str]:
    """Places of records, as topic/partition/offset, that the chain in this folder lacks. Raises Unavailable."""
    chained = _chained(folder)
    eyes, reader = Eyes(addresses), Reader(addresses)
    places = eyes.places(topic.name for topic in AUDIT.inputs)
    begins, ends = eyes.beginnings(places), eyes.ends(places)
    try:
        seen = reader.several({place: (begins[place], ends[place]) for place in places})
        return [
            f"{one.topic}/{one.partition}/{one.offset}"
            for one in seen
            if one.offset not in chained[one.topic, one.partition]
        ]
    finally:
        reader.close()


def letters(addresses: Addresses) -> Counter[str]:
    """Where the dead letters of every group that has any end, by topic. Raises Unavailable."""
    eyes = Eyes(addresses)
    found: Counter[str] = Counter()
    for (topic, _), end in eyes.ends(eyes.places(stage.dead_letters.name for stage in topology.STAGES)).items():
        found[topic] += end
    return found


def _chained(folder: Path) -> dict[tuple[str, int], set[int]]:
    found: dict[tuple[str, int], set[int]] = defaultdict(set)
    for path in sorted(folder.glob("chain-*.jsonl")):
        for line in path.read_bytes().splitlines():
            place = json.loads(line)["record"].get("place")
            if place is not None:  # the record that a file begins with has none
                found[place["topic"], place["partition"]].add(place["offset"])
    return found
