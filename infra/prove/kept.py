"""What stands outside a topic, held against what stands in it: the audit chain, and the dead letters of every group.

Enters: a system at rest. Leaves: places of records that no line of the chain has, and numbers of dead letters.
Guaranteed: the chain's files are read as they are, not by the sink's own reader of positions, and the topics by the
proof's own eyes: a record that the sink passed over is found, though the chain of the others is whole.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from aios.infra.prove.reading import Addresses, Eyes, Place, Reader
from aios.streams import topology
from aios.streams.topology import AUDIT

JOB = "aios.dlq.replay.job"  # the header of a record that a replay job returned


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


def letters(addresses: Addresses) -> dict[Place, int]:
    """Where the dead letters of every group end, by partition. Raises Unavailable."""
    eyes = Eyes(addresses)
    return eyes.ends(eyes.places(stage.dead_letters.name for stage in topology.STAGES))


def letters_since(addresses: Addresses, ends: Mapping[Place, int]) -> Counter[str]:
    """Dead letters behind these ends, by topic; without those that a job had returned, which were bad before.

    Raises Unavailable.
    """
    reader = Reader(addresses)
    try:
        behind = {place: (ends.get(place, 0), end) for place, end in letters(addresses).items()}
        seen = reader.several(behind, headers=True)
        return Counter(one.topic for one in seen if JOB not in dict(one.headers))
    finally:
        reader.close()


def _chained(folder: Path) -> dict[tuple[str, int], set[int]]:
    found: dict[tuple[str, int], set[int]] = defaultdict(set)
    for path in sorted(folder.glob("chain-*.jsonl")):
        for line in path.read_bytes().splitlines():
            place = json.loads(line)["record"].get("place")
            if place is not None:  # the record that a file begins with has none
                found[place["topic"], place["partition"]].add(place["offset"])
    return found
