"""The tables of the lake: which topics, which columns, and what a record is as a row.

Enters: a record of a topic the lake reads. Leaves: its Row. Guaranteed: columns are those of the contract, and the
record's place (kafka_topic, kafka_partition, kafka_offset, kafka_timestamp); fields tagged PII only if the deployment
says so; what models were given and said, never. Of dead letters only our headers are kept: the value is somebody's
payload, and the producer's own key may name a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import pyarrow as pa

from aios.dlq import envelope
from aios.schemas import contracts
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided
from aios.sinks.lake_files import Row
from aios.streams import topology
from aios.streams.record import Record, key_text
from aios.streams.topics import INFERENCE_COMPLETED, Topic
from aios.streams.topology import ADMIT, LAKE

TIME = pa.timestamp("ms")  # UTC; with a zone, DuckDB would need an extension from the network for every date
TEXT, COUNT = pa.string(), pa.int64()
_PLACE = {"kafka_topic": TEXT, "kafka_partition": pa.int32(), "kafka_offset": COUNT, "kafka_timestamp": TIME}
_NEVER = {INFERENCE_COMPLETED.name: frozenset({"output"})}
_TYPES = {"string": TEXT, "int": pa.int32(), "long": COUNT, "double": pa.float64(), "boolean": pa.bool_()}

_DEAD = {stage.dead_letters.name for stage in topology.STAGES if stage.reads}
_DEAD_COLUMNS = {
    **dict.fromkeys(("id", "tenant", "stage", "reason", "class", "fingerprint", "error_type", "error_where"), TEXT),
    **dict.fromkeys(("case_id", "orig_topic", "orig_group", "orig_schema_id", "payload_sha256", "code_version"), TEXT),
    **dict.fromkeys(("orig_partition", "orig_offset", "attempts", "replay_count", "value_bytes"), COUNT),
    **dict.fromkeys(("orig_timestamp", "first_failed_at", "last_failed_at"), TIME),
}
_DEAD_PERSONAL = {"key": TEXT, "error_message": TEXT, "replay_by": TEXT}


@dataclass(frozen=True, slots=True)
class Table:
    """name: of the topic and its folder. view: its name in SQL."""

    name: str
    columns: Mapping[str, pa.DataType]

    @property
    def view(self) -> str:
        return view_name(self.name)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(list({**_PLACE, **self.columns}.items()))


def view_name(topic: str) -> str:
    """case.decided.v1 → case_decided; aios.plan.dlq → aios_plan_dlq."""
    stem, _, version = topic.rpartition(".")
    return (stem if version[1:].isdigit() else topic).replace(".", "_").replace("-", "_")


def is_dead_letter(topic: str) -> bool:
    return topic in _DEAD


def tables(*, personal: bool) -> dict[str, Table]:
    """Every table by topic."""
    return {topic.name: Table(topic.name, _columns(topic, personal)) for topic in LAKE.reads}


class Rows:
    """Turns records into rows. personal: whether fields tagged PII are kept."""

    def __init__(self, codec: Codec, *, personal: bool) -> None:
        self._codec = codec
        self.tables = tables(personal=personal)
        carried = tuple(contract for topic in LAKE.reads for contract in topic.contracts)
        self._any = replace(LAKE.retries, contracts=carried)  # what returns says by its schema what it is
        self._topics = {topic.name: topic for topic in LAKE.reads}
        self._of_contract = {contract: topic.name for topic in LAKE.reads for contract in topic.contracts}

    def of(self, record: Record) -> Row:
        """Raises SchemaMismatch or Unavailable."""
        if is_dead_letter(record.topic):
            return self._row(record, record.topic, _dead(record))
        event = self._codec.decode_any(record.value, self._topics.get(record.topic, self._any))
        values = asdict(cast(Any, event))
        if isinstance(event, CaseDecided):
            values["decided_by_kind"] = event.decided_by.partition(":")[0]
        return self._row(record, self._of_contract[event.contract], values)

    def written_to(self, topic: str) -> Iterable[str]:
        """The tables in which records of this topic may stand."""
        return (topic,) if topic in self.tables else tuple(self.tables)

    def _row(self, record: Record, table: str, values: Mapping[str, Any]) -> Row:
        kept = {name: values.get(name) for name in self.tables[table].columns}
        return Row(table, record.topic, record.partition, record.offset, record.timestamp_ms, kept)


def _columns(topic: Topic, personal: bool) -> dict[str, pa.DataType]:
    if is_dead_letter(topic.name):
        return {**_DEAD_COLUMNS, **(_DEAD_PERSONAL if personal else {})}
    (contract,) = topic.contracts
    left_out = _NEVER.get(topic.name, frozenset())
    if not personal:
        left_out |= contracts.personal_fields(contract)
    fields = contracts.working(contract).resolved["fields"]
    columns = {one["name"]: _type(one["type"]) for one in fields if one["name"] not in left_out}
    return columns | ({"decided_by_kind": TEXT} if contract == CaseDecided.contract else {})


def _type(avro: Any) -> pa.DataType:
    if isinstance(avro, dict) and avro["type"] == "array":
        return pa.list_(_type(avro["items"]))
    if isinstance(avro, dict):
        return TIME if avro.get("logicalType") == "timestamp-millis" else _type(avro["type"])
    return _TYPES[avro]


def _dead(record: Record) -> dict[str, Any]:
    said = {name.replace(".", "_"): value for name, value in envelope.headers_said(record.headers).items()}
    values: dict[str, Any] = {name: said.get(name) for name in (*_DEAD_COLUMNS, *_DEAD_PERSONAL)}
    for name, kind in _DEAD_COLUMNS.items():
        if kind is not TEXT:
            values[name] = _number(values[name])
    values["value_bytes"] = len(record.value or b"")
    values["key"] = key_text(record.key)
    if said.get("orig_group") != ADMIT.group:  # there the key and the headers are still the producer's own
        values["case_id"] = record.header("ce_subject")
    return values


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
