"""What the registry's topic says, and what may be added to it. Pure: no Kafka, no HTTP.

Enters: the records of the topic, in order (apply), and requests. Leaves: answers, and for a change the records to
append; the catalogue itself changes only by apply, so it never says what the topic does not.
The records are in Confluent's `_schemas` format, so that another server can take the topic over: the key types
SCHEMA, CONFIG, MODE, DELETE_SUBJECT and NOOP are read (others are skipped), all but DELETE_SUBJECT are written.
Guaranteed: an id never names two schemas: the highest id ever given stands in the value of the NOOP record,
which other servers ignore, and so outlives a permanent delete and the topic's compaction; the same schema
(names in full; documentation, metadata and rules included) has one id, under whatever subjects.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aios.infra.local.registry_protocol import (
    AVRO,
    LATEST,
    Candidate,
    Mode,
    Refusal,
    compact,
    identity,
    parsed,
    version_number,
)
from aios.schemas import compat
from aios.schemas.compat import Level
from aios.schemas.errors import SchemaRefused
from aios.schemas.safety import Json, Schema

log = logging.getLogger(__name__)

DEFAULT_LEVEL = Level.FULL_TRANSITIVE  # replays read years back
VERSIONS_MAX = 1_000  # of one subject, deleted ones included; each new one is compared with all

Change = tuple[bytes, bytes | None]  # key and value of one record


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a subject. extra: everything else in its record (schemaType, references, metadata, ruleSet, …)."""

    subject: str
    number: int
    id: int
    text: str
    deleted: bool
    extra: Mapping[str, Json]
    identity: str

    def shown(self) -> dict[str, Json]:
        """As GET /subjects/{s}/versions/{n} has it."""
        return {"subject": self.subject, "version": self.number, "id": self.id, **self.body()}

    def body(self) -> dict[str, Json]:
        """As GET /schemas/ids/{id} has it: the schema, and what belongs to it."""
        extra = {name: value for name, value in self.extra.items() if value not in (None, [], AVRO)}
        return {"schema": self.text, **extra}

    def key(self) -> bytes:
        """Of its record."""
        return _bytes({"keytype": "SCHEMA", "subject": self.subject, "version": self.number, "magic": 1})

    def record(self) -> Change:
        said = {"subject": self.subject, "version": self.number, "id": self.id, **self.extra}
        return self.key(), _bytes({**said, "schema": self.text, "deleted": self.deleted})


class Catalogue:
    """Subjects, versions, levels and modes as the topic has them. Not thread-safe."""

    def __init__(self) -> None:
        self._subjects: dict[str, dict[int, Version]] = {}
        self._places: dict[int, dict[tuple[str, int], Version]] = {}  # by schema id
        self._ids: dict[str, int] = {}  # by identity
        self._levels: dict[str | None, Level] = {}
        self._modes: dict[str | None, Mode] = {}
        self.highest_id = 0
        self.writer = ""  # the instance that took the topic last

    # ── the topic's records ──

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take in one record. What cannot be read is skipped and logged."""
        try:
            what = json.loads(key or b"")
            said = json.loads(value) if value else None
            self._apply(what["keytype"], what, said)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("a record of the registry's topic was skipped: %s, key %.200r", type(error).__name__, key)

    def _apply(self, kind: str, key: Mapping[str, Json], value: Json) -> None:
        match kind:
            case "SCHEMA":
                version = None if value is None else _version(value)
                self._remove(key["subject"], key["version"])
                if version is not None:
                    self._insert(version)
            case "CONFIG":
                _put(self._levels, key["subject"], value and Level(value["compatibilityLevel"]))
            case "MODE":
                _put(self._modes, key["subject"], value and Mode(value["mode"]))
            case "DELETE_SUBJECT":
                for version in self._all(key["subject"]):
                    if value is not None and version.number <= value["version"]:
                        self._insert(replace(version, deleted=True))
            case "NOOP":
                if value is not None:
                    self.highest_id = max(self.highest_id, int(value["highestId"]))
                    self.writer = str(value["writer"])
            case _:
                log.info("records of type %s are not served here", kind)

    def _insert(self, version: Version) -> None:
        self._subjects.setdefault(version.subject, {})[version.number] = version
        self._places.setdefault(version.id, {})[version.subject, version.number] = version
        self._ids.setdefault(version.identity, version.id)
        self.highest_id = max(self.highest_id, version.id)

    def _remove(self, subject: str, number: int) -> None:
        numbers = self._subjects.get(subject, {})
        version = numbers.pop(number, None)
        if version is None:
            return
        if not numbers:
            del self._subjects[subject]
        places = self._places[version.id]
        del places[subject, number]
        if not places:
            del self._places[version.id]
            if self._ids.get(version.identity) == version.id:  # another server may give one schema two ids
                del self._ids[version.identity]

    # ── answers ──

    def subjects(self, *, prefix: str = "", deleted: bool = False, deleted_only: bool = False) -> list[str]:
        return sorted(
            name
            for name in self._subjects
            if name.startswith(prefix) and self._seen(name, deleted=deleted, deleted_only=deleted_only)
        )

    def numbers(self, subject: str, *, deleted: bool = False, deleted_only: bool = False) -> list[int]:
        """Version numbers. Refused with 40401 when there is none."""
        found = self._found(subject, deleted=deleted, deleted_only=deleted_only)
        return [version.number for version in found]

    def version(self, subject: str, number: str, *, deleted: bool = False) -> Version:
        """number: a number or `latest`. Refused with 40401, 40402 or 42202."""
        wanted = version_number(number)
        found = self._found(subject, deleted=deleted)
        if wanted is None:
            return found[-1]
        for version in found:
            if version.number == wanted:
                return version
        raise Refusal(404, 40402, f"Version {number} not found.")

    def by_id(self, schema_id: int) -> Version:
        """Any version with that id, deleted or not. Refused with 40403."""
        places = self._places.get(schema_id)
        if not places:
            raise Refusal(404, 40403, f"Schema {schema_id} not found")
        return next(iter(places.values()))

    def places(self, schema_id: int, *, deleted: bool = False) -> list[Version]:
        """Every version with that id. Refused with 40403."""
        self.by_id(schema_id)
        return [version for _, version in sorted(self._places[schema_id].items()) if deleted or not version.deleted]

    def find(self, subject: str, candidate: Candidate, *, deleted: bool = False) -> Version:
        """The latest version of the subject that is this schema. Refused with 40401 or 40403."""
        for version in reversed(self._found(subject, deleted=deleted)):
            if version.identity == candidate.identity:
                return version
        raise Refusal(404, 40403, "Schema not found")

    def live(self, subject: str) -> tuple[Version, ...]:
        """Versions that are not deleted, oldest first."""
        return tuple(self._seen(subject))

    def level(self, subject: str | None = None, *, or_global: bool = True) -> Level:
        """Refused with 40408 when the subject has none of its own and the global one is not asked for."""
        if subject is not None and subject not in self._levels and not or_global:
            why = f"Subject '{subject}' does not have subject-level compatibility configured"
            raise Refusal(404, 40408, why)
        return self._levels.get(subject) or self._levels.get(None, DEFAULT_LEVEL)

    def mode(self, subject: str | None = None, *, or_global: bool = True) -> Mode:
        """Refused with 40409 as level is with 40408."""
        if subject is not None and subject not in self._modes and not or_global:
            raise Refusal(404, 40409, f"Subject '{subject}' does not have subject-level mode configured")
        return self._modes.get(subject) or self._modes.get(None, Mode.READWRITE)

    # ── changes: the records to append ──

    def known(self, subject: str, candidate: Candidate) -> int | None:
        """Id of the schema if the subject already has it. Refused with 42205 where it may not be written."""
        same = [version.id for version in self._seen(subject) if version.identity == candidate.identity]
        if not same:
            self.writable(subject)
        return same[-1] if same else None

    def registration(self, subject: str, candidate: Candidate) -> tuple[int, list[Change]]:
        """Id of the schema and the record of its new version; the caller has compared it with the live ones."""
        number = max((version.number for version in self._all(subject)), default=0) + 1
        if number > VERSIONS_MAX:
            raise Refusal(422, 42205, f"Subject '{subject}' has {VERSIONS_MAX} versions, which is the most")
        schema_id = self._ids.get(candidate.identity) or self.highest_id + 1
        version = Version(
            subject=subject,
            number=number,
            id=schema_id,
            text=candidate.text,
            deleted=False,
            extra=candidate.extra,
            identity=candidate.identity,
        )
        return schema_id, [version.record()]

    def subject_deletion(self, subject: str, *, permanent: bool) -> tuple[list[int], list[Change]]:
        """Numbers and records. Refused with 40401, 40404, 40405 or 42205."""
        self.writable(subject)
        everything = self._found(subject, deleted=True)
        live = self._seen(subject)
        if permanent and live:
            why = f"Subject '{subject}' was not deleted first before being permanently deleted"
            raise Refusal(404, 40405, why)
        if not permanent and not live:
            why = f"Subject '{subject}' was soft deleted. Set permanent=true to delete permanently"
            raise Refusal(404, 40404, why)
        chosen = everything if permanent else live
        changes = [change for version in chosen for change in self._deletion(version, permanent=permanent)]
        changes += [(_key("CONFIG", subject), None)] if subject in self._levels else []
        changes += [(_key("MODE", subject), None)] if subject in self._modes else []
        return [version.number for version in chosen], changes

    def version_deletion(self, subject: str, number: str, *, permanent: bool) -> tuple[int, list[Change]]:
        """Number and records. Refused with 40401, 40402, 40406, 40407, 42202 or 42205."""
        self.writable(subject)
        version = self.version(subject, number, deleted=number not in LATEST)
        if version.deleted and not permanent:
            why = f"Subject '{subject}' Version {number} was soft deleted. Set permanent=true to delete permanently"
            raise Refusal(404, 40406, why)
        if permanent and not version.deleted:
            why = f"Subject '{subject}' Version {number} was not deleted first before being permanently deleted"
            raise Refusal(404, 40407, why)
        return version.number, self._deletion(version, permanent=permanent)

    def level_change(self, subject: str | None, level: Level | None) -> list[Change]:
        """level: None returns to the global one, or globally to the default. Refused with 42205."""
        self.writable(subject)
        return [_setting("CONFIG", subject, "compatibilityLevel", level)]

    def mode_change(self, subject: str | None, mode: Mode | None) -> list[Change]:
        """mode: as level in level_change."""
        return [_setting("MODE", subject, "mode", mode)]

    def opening(self, writer: str) -> list[Change]:
        """The record by which an instance takes the topic; it carries the highest id."""
        return [(_key("NOOP"), _bytes({"writer": writer, "highestId": self.highest_id}))]

    def writable(self, subject: str | None) -> None:
        """Refused with 42205 where the mode is READONLY."""
        if self.mode(subject) is Mode.READONLY:
            raise Refusal(422, 42205, f"{f'Subject {subject}' if subject else 'The registry'} is in read-only mode")

    # ── inside ──

    def _deletion(self, version: Version, *, permanent: bool) -> list[Change]:
        if not permanent:
            return [replace(version, deleted=True).record()]
        return [(version.key(), None), *self.opening(self.writer)]  # the id is gone from the topic, but not free

    def _all(self, subject: str) -> list[Version]:
        return [version for _, version in sorted(self._subjects.get(subject, {}).items())]

    def _seen(self, subject: str, *, deleted: bool = False, deleted_only: bool = False) -> list[Version]:
        if deleted_only:
            return [version for version in self._all(subject) if version.deleted]
        return [version for version in self._all(subject) if deleted or not version.deleted]

    def _found(self, subject: str, *, deleted: bool = False, deleted_only: bool = False) -> list[Version]:
        found = self._seen(subject, deleted=deleted, deleted_only=deleted_only)
        if not found:
            raise Refusal(404, 40401, f"Subject '{subject}' not found.")
        return found


def incompatibilities(new: Candidate, old: Sequence[Version], level: Level) -> list[str]:
    """Why the schema may not follow these versions at this level; empty: it may. Takes about a ms a version."""
    if level is Level.NONE:
        return []
    found: list[str] = []
    readable: dict[int, Schema] = {}
    for version in old if level.endswith("TRANSITIVE") else old[-1:]:
        try:
            readable[version.number] = _comparable(version)
        except SchemaRefused as error:
            found.append(f"version {version.number} cannot be compared: {error}")
    return found + compat.problems(parsed(new.text), readable, level)


def _comparable(version: Version) -> Schema:
    if version.extra.get("references") or version.extra.get("schemaType", AVRO) != AVRO:
        raise SchemaRefused("it is no self-contained Avro schema")
    return parsed(version.text)


def _version(value: Mapping[str, Json]) -> Version:
    own = ("subject", "version", "id", "schema", "deleted")
    extra = {name: each for name, each in value.items() if name not in own}
    return Version(
        subject=str(value["subject"]),
        number=int(value["version"]),
        id=int(value["id"]),
        text=str(value["schema"]),
        deleted=bool(value.get("deleted")),
        extra=extra,
        identity=identity(str(value["schema"]), extra),
    )


def _setting(kind: str, subject: str | None, name: str, value: str | None) -> Change:
    return _key(kind, subject), None if value is None else _bytes({"subject": subject, name: value})


def _key(kind: str, subject: str | None = None) -> bytes:
    """Byte for byte as Confluent's server writes it, so that the topic's compaction sees one key."""
    named = {} if kind == "NOOP" else {"subject": subject}
    return _bytes({"keytype": kind, **named, "magic": 0})


def _bytes(value: Json) -> bytes:
    return compact(value).encode()


def _put(kept: dict[Any, Any], key: str | None, value: Any) -> None:
    if value is None:
        kept.pop(key, None)
    else:
        kept[key] = value
