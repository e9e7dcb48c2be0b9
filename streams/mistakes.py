"""What is wrong in a YAML file that people write: a line for each mistake, with its place and a hint. Pure.

In: the file's nodes, and what pydantic or a check found at a place of keys. Out: `file:line:column: place: what is
wrong`. Guaranteed: the line and column are those of the deepest key of the place that the file has; no message shows a
pattern or what a library draws.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from aios.streams import yaml_text
from aios.streams.part import (
    FIELD,
    FIELD_TYPE,
    INPUT,
    LETTERS,
    NAMED,
    POLICY,
    POOL,
    SECRET,
    SECRET_OR_NONE,
    SERVER,
    WORD,
    WORKFLOW,
)

WITH_UNIT = re.compile(r"\d+(?:\.\d+)?\s*(?:ms|s|sec\w*|m|min\w*|h|hours?|d|days?|w|weeks?)")
PATTERNS: Mapping[str, str] = {
    WORD: "lower-case letters, digits and _, a letter first, at most 64",
    NAMED: "a name of lower-case letters, digits and -, and perhaps its version, as in summariser@2",
    POLICY: "a policy's name and its version, as in no_injection@1",
    WORKFLOW: "words of lower-case letters and digits with dots between them, as in expenses.claim",
    INPUT: "words with dots between them and a version, as in expense.claimed.v1",
    LETTERS: "lower-case letters alone, at most 32",
    FIELD: "letters, digits and _, a letter first, at most 64",
    FIELD_TYPE: "text, number, whole, flag, texts, object or objects, with a ? behind it where it may be missing",
    POOL: "a name of lower-case letters, digits and _, a dot, and interactive or bulk",
    SECRET: "where the secret stands: file:/path or env:NAME",
    SECRET_OR_NONE: "where the secret stands: file:/path or env:NAME",
    SERVER: "an address that begins with http:// or https://, without a user and a password",
}
"""What may stand there, by the pattern that holds it."""
KEY = "[key]"  # pydantic's word for a key where a value's place ends
SEVERAL = "several values belong here by their names, indented below or in braces"
LISTED = "a list belongs here: in brackets, or a line with a - for each"
DATE = "a date belongs here, written as in 2026-11-20"
NEEDED: Mapping[str, str] = {
    "model_type": SEVERAL,
    "dict_type": SEVERAL,
    "mapping_type": SEVERAL,
    "tuple_type": LISTED,
    "list_type": LISTED,
    "string_type": "a text belongs here",
    "date_from_datetime_parsing": DATE,
    "date_parsing": DATE,
    "date_type": DATE,
}
"""What to write, where a library says what it has not got."""
SILENT = frozenset({SECRET, SECRET_OR_NONE, SERVER})  # what stands there instead is not repeated: it may be a secret


def line(where: str, root: yaml.Node, place: Sequence[str | int], says: str, *, key: Sequence[str] = ()) -> str:
    """One mistake. where: the file, or what it is called. key: what stands there under the place that is named."""
    named = f"{'.'.join(map(str, place))}: " if place else ""
    return f"{where}:{_at(root, [*place, *key])}: {named}{says}"


def lines(where: str, root: yaml.Node, error: ValidationError) -> list[str]:
    """All that pydantic found."""
    return [line(where, root, place, says, key=key) for place, says, key in told(error)]


def told(error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str, list[str]]]:
    """Each mistake: its place, what is wrong, and the key under the place that is meant.

    What is wrong with a whole, because of what is wrong with a part of it, is not told beside that.
    """
    every = error.errors(include_url=False)
    for each in every:
        place = each["loc"]
        if not any(len(one["loc"]) > len(place) and one["loc"][: len(place)] == place for one in every):
            yield tuple(part for part in place if part != KEY), _plain(each), _key(each.get("ctx"))


def _at(root: yaml.Node, place: Sequence[str | int]) -> str:
    """Line and column, 1-based, of the deepest key of the place that the file has."""
    node = named = root
    for key in place:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(key)), None)
            if pair is None:
                break
            named, node = pair
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            named = node = node.value[key]
    return yaml_text.place(named)


def _key(context: dict[str, object] | None) -> list[str]:
    return [str(context["key"])] if context and "key" in context else []


def _plain(error: ErrorDetails) -> str:
    """The problem in one line, without pydantic's prefix and CEL's drawing, and what to write instead."""
    says, found = error["msg"].removeprefix("Value error, ").partition("\n")[0], error["input"]
    if error["loc"] and error["loc"][-1] == KEY and not isinstance(found, str):
        return f"{found!r} is no name; in braces a comma ends a value: 50,000 is written 50000, other text in quotes"
    says = NEEDED.get(error["type"], says)
    if isinstance(found, bool):
        return f"{says}; YAML reads yes, no, on and off as true and false: put the word in quotes"
    if isinstance(found, str) and WITH_UNIT.fullmatch(found):
        return f"{says}; a number stands alone: the end of its name says the unit (_s seconds, _h hours, _days days)"
    if error["type"] == "string_pattern_mismatch" and isinstance(found, str):
        return _fits(found, error.get("ctx", {}).get("pattern", ""))
    return says


def _fits(found: str, pattern: str) -> str:
    """What may stand where a word does not fit, and the nearest that would."""
    near = re.sub(r"[^a-z0-9_]+", "_", found.strip().lower()).strip("_")
    meant = f"; did you mean {near}?" if pattern == WORD and re.fullmatch(WORD, near) else ""
    shown = repr(found[:80]) if pattern in PATTERNS.keys() - SILENT else "this"
    return f"{shown} does not fit here{meant} (allowed here: {PATTERNS.get(pattern, pattern)})"
