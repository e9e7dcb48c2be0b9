"""The load generator and the verifier against a real broker and registry, with no stage behind them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from aios.infra.prove import journal, load, verify
from aios.infra.prove.findings import Law
from aios.infra.prove.journal import Kind
from aios.infra.prove.reading import Addresses
from aios.streams import topology
from aios.streams.admin import ensure_topics
from aios.streams.config import KafkaSettings

pytestmark = pytest.mark.broker
EVENTS = 300


def test_what_nobody_processes_is_on_its_way_and_then_lost_and_what_was_acknowledged_is_there(
    kafka: KafkaSettings, registry_url: str, valkey_url: str, tmp_path: Path
) -> None:
    """Every event of the journal stands in the topic as it was sent; a journal that says otherwise is believed."""
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    addresses = Addresses(kafka=kafka.bootstrap_servers, registry=registry_url, valkey=valkey_url)
    sent = load.run(addresses, tmp_path, rate_per_s=10_000, count=EVENTS)
    assert (sent.total, sent.acked, sent.unknown) == (EVENTS, EVENTS, 0)
    assert {Kind.GOOD, Kind.REPEAT, Kind.CONCURRENT, Kind.CONFLICT} <= sent.sent.keys()

    running = verify.check(addresses, tmp_path, drained=False)
    assert running.sound, running.examples
    assert dict(running.part.events) == {"on its way": EVENTS}

    lines = (tmp_path / journal.FILE).read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if '"via"' in line)
    lines[first] = json.dumps(json.loads(lines[first]) | {"body": "another"})
    (tmp_path / journal.FILE).write_text("\n".join(lines) + "\n")
    drained = verify.check(addresses, tmp_path, drained=True)
    assert drained.lost == EVENTS
    assert dict(drained.violations) == {Law.NONE_LEFT: EVENTS, Law.ACKNOWLEDGED: 1}
