"""What clients of the registry may ask, and how they are refused. Pure.

Enters: parts of a request (path, JSON body). Leaves: what is asked, checked, or a Refusal with Confluent's error code.
Guaranteed: a Candidate is a safe schema (schemas/safety.py) that fits into one record of the topic.
Refused: schema types other than Avro; references to other subjects (write the types out in the schema, so that
every schema can be read alone); ids and versions of the client's own choice (IMPORT mode); contexts; of what
Confluent's server can configure, everything but the compatibility level.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from aios.schemas import safety
from aios.schemas.compat import Level
from aios.schemas.errors import SchemaRefused
from aios.schemas.safety import Json, Schema

SUBJECT_CHARS_MAX = 255
RECORD_BYTES_MAX = 900_000  # of a schema with its metadata and rules; the producer's own bound is a little higher
PARSED_MAX = 512  # schemas kept parsed
LATEST = ("latest", "-1")
AVRO = "AVRO"
RULE_LISTS = ("migrationRules", "domainRules", "encodingRules")
RULE_KINDS = ("CONDITION", "TRANSFORM")
RULE_MODES = ("UPGRADE", "DOWNGRADE", "UPDOWN", "READ", "WRITE", "WRITEREAD")
MEANT = ("schemaType", "references", "metadata", "ruleSet")  # what makes a schema another one, beside its text


class Mode(StrEnum):
    """What a subject lets be done; Confluent's names, as far as they are served here."""

    READWRITE = "READWRITE"
    READONLY = "READONLY"


class Refusal(Exception):
    """A request that is answered with one of the protocol's error codes."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Candidate:
    """A schema that somebody sent. extra: its metadata and ruleSet, where given. identity: see identity()."""

    text: str
    extra: Mapping[str, Json]
    identity: str


def candidate(body: Mapping[str, Json]) -> Candidate:
    """The schema of a request's body. Refused with 42201, 42205, 42209 or 42210."""
    if (body.get("schemaType") or AVRO) != AVRO:
        raise _invalid("this registry serves Avro only")
    if body.get("references"):
        raise _invalid("this registry resolves no references to other subjects: write the types out in the schema")
    if any(body.get(name) not in (None, 0, -1) for name in ("id", "version")):
        raise Refusal(422, 42205, "`id` and `version` are given by the registry; there is no IMPORT mode here")
    text = body.get("schema")
    if not isinstance(text, str) or not text:
        raise _invalid("`schema` must be the schema's JSON text")
    if len(text) > safety.TEXT_BYTES_MAX:
        raise _too_large(safety.TEXT_BYTES_MAX)
    try:
        safety.read(text)
    except SchemaRefused as error:
        raise _invalid(str(error)) from error
    return _candidate(compact(json.loads(text)), dict(_extra(body)))


def subject_name(name: str) -> str:
    """Refused with 42208."""
    if not name or len(name) > SUBJECT_CHARS_MAX or not name.isprintable() or name.startswith(":"):
        why = f"a subject has 1 to {SUBJECT_CHARS_MAX} printable characters and no context (leading ':')"
        raise Refusal(422, 42208, f"The specified subject {name[:SUBJECT_CHARS_MAX]!r} is not a valid subject: {why}.")
    return name


def version_number(text: str) -> int | None:
    """None: the latest. Refused with 42202."""
    if text in LATEST:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:11]) < 1 << 31:
        why = f"The specified version '{text[:20]}' is not a valid version id. Allowed: 1 to 2^31-1 and \"latest\""
        raise Refusal(422, 42202, why)
    return int(text)


def level_of(body: Mapping[str, Json]) -> Level:
    """The level of a request's body. Refused with 42203, or 422 for what else could be configured elsewhere."""
    unknown = sorted(name for name, value in body.items() if name != "compatibility" and value is not None)
    if unknown:
        raise Refusal(422, 422, f"this registry configures `compatibility` only, not {', '.join(unknown)}")
    try:
        return Level(_upper(body.get("compatibility")))
    except ValueError as error:
        raise Refusal(422, 42203, f"Invalid compatibility level. Valid values are {', '.join(Level)}") from error


def mode_of(body: Mapping[str, Json]) -> Mode:
    """The mode of a request's body. Refused with 42204."""
    try:
        return Mode(_upper(body.get("mode")))
    except ValueError as error:
        raise Refusal(422, 42204, f"Invalid mode. Valid values here are {', '.join(Mode)}") from error


def _upper(value: Json) -> str:
    return value.upper() if isinstance(value, str) else ""


def identity(text: str, extra: Mapping[str, Json]) -> str:
    """Equal for schemas that are the same but for the way their text is written: one id."""
    told = {name: extra[name] for name in MEANT if extra.get(name) and extra[name] != AVRO}
    try:
        meant: Json = parsed(text).resolved
    except SchemaRefused:  # another server let it in
        meant = text
    whole = json.dumps([meant, told], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(whole.encode()).hexdigest()


@lru_cache(maxsize=PARSED_MAX)
def parsed(text: str) -> Schema:
    """Raises SchemaRefused for a schema that is not safe Avro."""
    return safety.read(text)


def compact(value: Json) -> str:
    """JSON as it stands in the topic."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _candidate(text: str, extra: Mapping[str, Json]) -> Candidate:
    try:
        size = len(compact([text, extra]).encode())
    except UnicodeEncodeError as error:
        raise _invalid("a text of it is not Unicode") from error
    if size > RECORD_BYTES_MAX:
        raise _too_large(RECORD_BYTES_MAX)
    return Candidate(text, extra, identity(text, extra))


def _extra(body: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    metadata, rules = body.get("metadata"), body.get("ruleSet")
    if metadata is not None:
        if not isinstance(metadata, dict):
            raise _invalid("`metadata` must be an object")
        yield "metadata", metadata
    if rules is not None:
        _check_rules(rules)
        yield "ruleSet", rules


def _check_rules(rules: Json) -> None:
    if not isinstance(rules, dict):
        raise _no_rules("`ruleSet` must be an object")
    for name in RULE_LISTS:
        listed = rules.get(name) or []
        if not isinstance(listed, list) or not all(isinstance(rule, dict) for rule in listed):
            raise _no_rules(f"`{name}` must be a list of rules")
        names = [rule.get("name") for rule in listed]
        if not all(isinstance(each, str) and each for each in names) or len(set(names)) != len(names):
            raise _no_rules(f"every rule of `{name}` needs a name of its own")
        for rule in listed:
            if rule.get("kind") not in RULE_KINDS or rule.get("mode") not in RULE_MODES or not rule.get("type"):
                needs = f"kind ({', '.join(RULE_KINDS)}), mode ({', '.join(RULE_MODES)})"
                raise _no_rules(f"rule {rule['name']!r} needs {needs} and a type")


def _invalid(why: str) -> Refusal:
    return Refusal(422, 42201, f"Invalid schema: {why}")


def _too_large(bytes_max: int) -> Refusal:
    return Refusal(422, 42209, f"Schema too large: at most {bytes_max} bytes")


def _no_rules(why: str) -> Refusal:
    return Refusal(422, 42210, f"Invalid ruleset: {why}")
