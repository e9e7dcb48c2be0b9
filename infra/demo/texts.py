"""What the demo publishes: 200 real customer texts that no training saw, and 6 bad records.

The texts come from infra/demo/data/ (sources and licences in its README). A text's key is its row, so that
its decision can be compared with the data's own label afterwards.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aios.schemas.codec import VALUE_BYTES_MAX, Codec
from aios.schemas.models import DocumentReceived
from aios.streams.record import Outgoing
from aios.streams.topics import DOCUMENT_RECEIVED

DATA = Path(__file__).parent / "data"
KINDS = ("letters", "messages", "strays")
KILLER = "AIOS-DRILL-SEGV"
"""admit ends its process by SIGSEGV on a record with these bytes, because the demo arms that failpoint."""
FAILPOINTS = f"admit.decode=segv:{KILLER}"
REPAIRED_TEXT = "I still have not received my new card, can you tell me when it will arrive?"
REPAIRED = "bad-contract"  # the record that an operator repairs and replays
OVERSIZE = b"\x00" + bytes(VALUE_BYTES_MAX)  # the broker takes it, a stage does not
FOREIGN_SCHEMA = '{"type":"record","name":"Invoice","namespace":"demo","fields":[{"name":"cents","type":"long"}]}'


@dataclass(frozen=True, slots=True)
class Text:
    """One customer text. label: the data's own; empty for strays, which belong nowhere."""

    key: str
    kind: str
    text: str
    label: str

    def outgoing(self, codec: Codec) -> Outgoing:
        value = codec.encode(DOCUMENT_RECEIVED, DocumentReceived(text=self.text))
        return Outgoing(DOCUMENT_RECEIVED.name, self.key.encode(), value)


def load(run: str) -> list[Text]:
    """The 200 texts, kinds interleaved as a post room would see them.

    run: begins every key, so that each run has cases of its own.
    """
    rows = [list(_kind(kind, run)) for kind in KINDS]
    total = sum(map(len, rows))
    spread = [((i + 0.5) * total / len(kind), text) for kind in rows for i, text in enumerate(kind)]
    return [text for _, text in sorted(spread, key=lambda pair: (pair[0], pair[1].key))]


def _kind(kind: str, run: str) -> Iterator[Text]:
    with (DATA / f"{kind}.csv").open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            yield Text(f"{run}-{kind}-{number:03}", kind, row["text"], row.get("label") or "")


def bad_records(codec: Codec, foreign_schema_id: int, run: str) -> list[Outgoing]:
    """One of each kind of bad record; foreign_schema_id: of FOREIGN_SCHEMA, registered for another topic."""
    values = {
        "bad-garbage": b"\xffnot avro at all",
        "bad-schema-id": b"\x00" + (987_654).to_bytes(4, "big") + b"\x02a",
        REPAIRED: b"\x00" + foreign_schema_id.to_bytes(4, "big") + b"\x02",
        "bad-oversize": OVERSIZE,
        "bad-empty": None,
        "bad-killer": codec.encode(DOCUMENT_RECEIVED, DocumentReceived(text=KILLER)),
    }
    return [Outgoing(DOCUMENT_RECEIVED.name, key(run, name).encode(), value) for name, value in values.items()]


def key(run: str, name: str) -> str:
    """Record key of a bad record."""
    return f"{run}-{name}"
