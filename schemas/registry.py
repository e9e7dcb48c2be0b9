"""Schema ids: the client side of any Confluent-compatible registry.

Enters: a registry's URL. Leaves: ids and schema texts for the codec.
Guaranteed: every call ends within TIMEOUT_S × (RETRIES_MAX + 1) and the waits between; a registry that does
not answer, answers with its own trouble (5xx, 429) or with what is not its protocol is Unavailable; only where
it says that it does not know an id is that a property of the record. An unknown id is asked for again only after
UNKNOWN_S, so that garbage does not become load.
Rejected: auto-registration by producers (`aios up` registers all contracts, and the gate is at registration).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError
from httpx2 import HTTPError, InvalidURL

from aios.schemas import contracts
from aios.schemas.errors import Reason, SchemaMismatch, SchemaRefused, Unavailable

TIMEOUT_S = 3.0  # of one request
RETRIES_MAX = 1
RETRY_WAIT_MS = 100
UNKNOWN_S = 5.0
UNKNOWN_MAX = 1024
NOT_FOUND = frozenset({40401, 40402, 40403})  # the protocol's codes; a bare 404 may come from anything in between
ID_MAX = (1 << 31) - 1  # larger ones are no ids; registries answer each in its own way

T = TypeVar("T")


def shown(url: str) -> str:
    """A URL as people and logs may have it: without the user and password in it."""
    return re.sub(r"//[^/,]*@", "//", url)


class Carrier(Protocol):
    """What registration must know of a topic."""

    @property
    def contracts(self) -> tuple[str, ...]: ...
    def subject(self, contract: str) -> str: ...


class RegistrySource:
    """SchemaSource over HTTP; usable from several threads."""

    def __init__(self, url: str) -> None:
        self._url = shown(url)
        self._client = SchemaRegistryClient(
            {
                "url": url,
                "timeout": TIMEOUT_S,
                "max.retries": RETRIES_MAX,
                "retries.wait.ms": RETRY_WAIT_MS,
                "retries.max.wait.ms": RETRY_WAIT_MS,
            }
        )
        self._unknown: dict[int, float] = {}  # schema id → when it may be asked for again

    def by_id(self, schema_id: int) -> str:
        """The schema's JSON text. Raises SchemaMismatch(UNKNOWN_SCHEMA) or Unavailable."""
        mismatch = SchemaMismatch(f"the registry does not know schema {schema_id}", Reason.UNKNOWN_SCHEMA)
        if time.monotonic() < self._unknown.get(schema_id, 0.0):
            raise mismatch
        if schema_id > ID_MAX:
            raise mismatch
        try:
            schema = self._ask(lambda: self._client.get_schema(schema_id))
        except SchemaRegistryError as error:
            if error.error_code not in NOT_FOUND:
                raise Unavailable(f"registry at {self._url}, asked for schema {schema_id}: {error}") from error
            self._remember_unknown(schema_id)
            raise mismatch from error
        if schema.schema_type not in (None, "AVRO") or schema.references:
            raise SchemaMismatch(f"schema {schema_id} is no self-contained Avro schema", Reason.CONTRACT_BROKEN)
        if not isinstance(schema.schema_str, str):
            raise Unavailable(f"what answers at {self._url} is no registry: it has no text for schema {schema_id}")
        return schema.schema_str

    def id_of(self, subject: str, schema: str) -> int:
        """Id under which the subject has this schema. Raises SchemaRefused if it does not, or Unavailable."""
        try:
            return self._ask(lambda: int(self._client.lookup_schema(subject, RegistrySchema(schema, "AVRO")).schema_id))
        except SchemaRegistryError as error:
            raise SchemaRefused(f"{subject} does not have this contract at {self._url}: {error}") from error

    def register(self, subject: str, schema: str) -> int:
        """Id of the schema, new or not. Raises SchemaRefused when the registry refuses it, or Unavailable."""
        try:
            return self._ask(lambda: int(self._client.register_schema(subject, RegistrySchema(schema, "AVRO"))))
        except SchemaRegistryError as error:
            raise SchemaRefused(f"{subject} refused by {self._url}: {error}") from error

    def close(self) -> None:
        self._client.close()

    def _ask(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except SchemaRegistryError as error:
            if error.http_status_code >= 500 or error.http_status_code in (401, 403, 429):
                raise Unavailable(f"registry at {self._url}: {error}") from error
            raise
        except (HTTPError, InvalidURL) as error:
            raise Unavailable(f"no registry answers at {self._url}: {type(error).__name__}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Unavailable(f"what answers at {self._url} is no registry: {type(error).__name__}") from error

    def _remember_unknown(self, schema_id: int) -> None:
        if len(self._unknown) >= UNKNOWN_MAX:
            self._unknown.pop(next(iter(self._unknown)), None)
        self._unknown[schema_id] = time.monotonic() + UNKNOWN_S


def register_all(url: str, topics: Iterable[Carrier]) -> dict[str, int]:
    """Register every contract of these topics under its subject; what is there already keeps its id.

    Returns the id by subject. Raises SchemaRefused, naming the subject, or Unavailable.
    """
    source = RegistrySource(url)
    try:
        return {
            subject: source.register(subject, contracts.working(contract).text)
            for topic in topics
            for contract in topic.contracts
            for subject in (topic.subject(contract),)
        }
    finally:
        source.close()


class InMemory:
    """Schemas numbered in the order they are asked for, whatever the subject: a registry where none runs."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._texts: list[str] = []

    def by_id(self, schema_id: int) -> str:
        """As RegistrySource."""
        if not 0 < schema_id <= len(self._texts):
            raise SchemaMismatch(f"no schema {schema_id}", Reason.UNKNOWN_SCHEMA)
        return self._texts[schema_id - 1]

    def id_of(self, subject: str, schema: str) -> int:  # noqa: ARG002 - as RegistrySource's
        """As RegistrySource; every subject has every schema."""
        if schema not in self._ids:
            self._texts.append(schema)
            self._ids[schema] = len(self._texts)
        return self._ids[schema]
