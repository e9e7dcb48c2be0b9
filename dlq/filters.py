"""Which dead letters are meant: a filter, as `aios dlq`, replay jobs and the index use it. Pure.

Enters: fields from a command line or canonical JSON. Leaves: whether a dead letter is meant. Guaranteed: every part
that is given must hold; canonical JSON and back is the same filter; what is no filter is refused in a sentence. An
expression that does not evaluate over a letter (a field that its value does not have) does not hold for it, and
says so by None, so that callers can count these.

    group, reason, fingerprint, tenant, key     equal
    since, until                                when it was written as a dead letter, Unix ms: since <= at < until
    ids                                         one of them
    expression                                  CEL over `letter` (the fields of DeadLetter), `headers` (by name, as
                                                text, the last of a name) and `value` (as the record's schema decodes
                                                it, else null): letter.attempts > 2 && value.text.contains("IBAN")

Rejected: regular expressions per field (CEL has matches(), RE2, in time linear in the text), negations as fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, cast

from aios.dlq.dead_letter import GROUPS, DeadLetter
from aios.schemas import ids as derived
from aios.schemas.errors import AiosError, Reason
from aios.streams.expression import SOURCE_CHARS_MAX, Expression, ExpressionError
from aios.streams.record import Headers

CHARS_MAX = 1_024  # of each text but the expression
IDS_MAX = 200
TIME_MS_MAX = 253_402_300_799_999  # end of the year 9999
EXPRESSIONS_KEPT = 256
VARIABLES = frozenset({"letter", "headers", "value"})

# A walk over a list or map and the name it binds; one at most, so that an expression is linear in the record.
_WALK = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*(\w+)\s*,")
WALKS_MAX = 1
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TEXTS = ("group", "reason", "fingerprint", "tenant", "key", "expression")
_TIMES = ("since", "until")


class FilterRefused(AiosError):
    """It is no filter; the message says what is wrong with it."""


def no_value() -> Any:
    """For callers that have no value to give: as if it did not decode."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """See the module; empty or 0: whatever it is. Raises FilterRefused when built from something that is none."""

    group: str = ""
    reason: str = ""
    fingerprint: str = ""
    tenant: str = ""
    since: int = 0
    until: int = 0
    key: str = ""
    ids: tuple[str, ...] = ()
    expression: str = ""

    def __post_init__(self) -> None:
        for name in _TEXTS:
            _text(name, getattr(self, name))
        for name in _TIMES:
            _time(name, getattr(self, name))
        if self.until and self.until <= self.since:
            raise FilterRefused("until is not after since")
        if self.group and self.group not in GROUPS.values():
            raise FilterRefused(f"there is no group {self.group}; these are: {', '.join(sorted(GROUPS.values()))}")
        if self.reason and self.reason not in set(Reason):
            raise FilterRefused(f"there is no reason {self.reason}; these are: {', '.join(sorted(Reason))}")
        _ids(self.ids)
        if self.expression:
            _compiled(self.expression)

    @property
    def indexed(self) -> Filter:
        """Without the expression: what an index can answer."""
        return replace(self, expression="")

    @property
    def needs_value(self) -> bool:
        return "value" in self._names

    @property
    def needs_record(self) -> bool:
        """Whether the record itself is asked about, beyond what DeadLetter holds."""
        return bool(self._names & {"value", "headers"})

    @property
    def names_failure(self) -> bool:
        """Whether it says which failure it means, or which letters."""
        return bool(self.reason or self.fingerprint or self.ids)

    def meets(self, letter: DeadLetter) -> bool:
        """Whether everything but the expression holds."""
        return (
            self.group in ("", letter.group)
            and self.reason in ("", letter.reason)
            and self.fingerprint in ("", letter.fingerprint)
            and self.tenant in ("", letter.tenant)
            and self.key in ("", letter.key)
            and self.since <= letter.written_at
            and (not self.until or letter.written_at < self.until)
            and (not self.ids or letter.id in self.ids)
        )

    def answers(self, letter: DeadLetter, headers: Headers = (), value: Callable[[], Any] = no_value) -> bool | None:
        """Whether it is meant; None: everything else holds and the expression says neither true nor false.

        value: called only if the expression asks about it and everything else holds; may raise Unavailable.
        """
        if not self.meets(letter):
            return False
        if not self.expression:
            return True
        view: dict[str, Any] = {"letter": letter.plain()}
        if "headers" in self._names:
            view["headers"] = {name: (said or b"").decode("utf-8", "replace") for name, said in headers}
        if self.needs_value:
            view["value"] = value()
        try:
            said = _compiled(self.expression).evaluate(view)
        except ExpressionError:
            return None
        return said if isinstance(said, bool) else None

    def holds(self, letter: DeadLetter, headers: Headers = (), value: Callable[[], Any] = no_value) -> bool:
        """Whether it is meant; as answers(), where None is no."""
        return self.answers(letter, headers, value) is True

    def json(self) -> str:
        """Canonical; what is empty is left out."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        return derived.canonical({name: said for name, said in given.items() if said})

    @property
    def _names(self) -> frozenset[str]:
        return _compiled(self.expression).names if self.expression else frozenset()


def parse(text: str) -> Filter:
    """The filter in this JSON. Raises FilterRefused."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FilterRefused("the filter is no JSON") from error
    return of(said)


def of(said: object) -> Filter:
    """The filter in this JSON value. Raises FilterRefused."""
    known = [one.name for one in fields(Filter)]
    if not isinstance(said, dict):
        raise FilterRefused("a filter is a JSON object")
    unknown = sorted(set(map(str, said)) - set(known))
    if unknown:
        raise FilterRefused(f"a filter has no field {unknown[0]}; it has {', '.join(known)}")
    given = dict(cast(Mapping[str, Any], said))
    if isinstance(given.get("ids"), list):
        given["ids"] = tuple(given["ids"])
    return Filter(**given)


def check_fields(wanted: Filter) -> None:
    """Raises FilterRefused where the expression names a field that no letter has: it would say nothing of any."""
    if not wanted.expression:
        return
    known = {one.name for one in fields(DeadLetter)}
    unknown = sorted((_compiled(wanted.expression).reads.get("letter") or frozenset()) - known)
    if unknown:
        raise FilterRefused(f"there is no letter.{unknown[0]}; a letter has {', '.join(sorted(known))}")


def _text(name: str, said: object) -> None:
    if not isinstance(said, str):
        raise FilterRefused(f"{name} is a text")
    bound = SOURCE_CHARS_MAX if name == "expression" else CHARS_MAX
    if len(said) > bound:
        raise FilterRefused(f"{name} has {len(said)} characters, at most {bound}")
    try:
        said.encode()
    except UnicodeEncodeError as error:
        raise FilterRefused(f"{name} is no Unicode text") from error


def _time(name: str, said: object) -> None:
    if not isinstance(said, int) or isinstance(said, bool) or not 0 <= said <= TIME_MS_MAX:
        raise FilterRefused(f"{name} is a time in Unix milliseconds")


def _ids(said: object) -> None:
    if not isinstance(said, tuple) or not all(isinstance(one, str) and _ID.fullmatch(one) for one in said):
        raise FilterRefused("ids is a list of whole ids of dead letters")
    if len(said) > IDS_MAX:
        raise FilterRefused(f"{len(said)} ids are too many, at most {IDS_MAX}; a fingerprint names all of one kind")


@lru_cache(maxsize=EXPRESSIONS_KEPT)
def _compiled(source: str) -> Expression:
    """Raises FilterRefused."""
    try:
        expression = Expression(source)
    except ValueError as error:
        raise FilterRefused(f"the expression is no CEL: {str(error).splitlines()[0][:CHARS_MAX]}") from error
    bound = _WALK.findall(source)
    if len(bound) > WALKS_MAX:
        raise FilterRefused("the expression walks over lists more than once (all, exists, exists_one, map, filter)")
    unknown = sorted(expression.names - VARIABLES - set(bound))
    if unknown:
        raise FilterRefused(f"the expression asks about {unknown[0]}; there are {', '.join(sorted(VARIABLES))}")
    return expression
