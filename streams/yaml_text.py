"""YAML that people write, read strictly: each mistake with its line and column, and nothing dropped in silence.

In: text. Out: its nodes, for the places of later mistakes, and the value that they stand for. Guaranteed: whatever is
wrong with it as YAML is Unreadable, with what to write instead where that is known: a key that stands twice (the last
one would win), braces that were meant as an expression, a date that is none, a tag of another program, an anchor inside
itself, more than DEPTH_MAX levels, also by aliases, half a character, and aliases that repeat more than ALIASED_MAX:
what stands for a few hundred bytes of them would keep whoever looks at all of it busy for ever.
Rejected: rewriting what was meant (`=` for `==`): whoever reads the file later reads what the author wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.reader import ReaderError

from aios.streams.errors import ConfigError

DEPTH_MAX = 50
FILE_CHARS_MAX = 256 << 10
ALIASED_MAX = 64 << 10  # values, and characters in them, that stand there by aliases alone
STANDARD = "tag:yaml.org,2002:"  # begins the tags that this reads
MERGE = f"{STANDARD}merge"
NULL, BINARY = f"{STANDARD}null", f"{STANDARD}binary"
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
NO_TAGS_OF_VALUES = frozenset({MERGE, f"{STANDARD}value"})  # of the keys << and =
NUMBERS = frozenset({f"{STANDARD}int", f"{STANDARD}float"})
EIGHTS = re.compile(r"[-+]?0[0-7_]+")
COLLECTIONS = frozenset({f"{STANDARD}map", f"{STANDARD}seq"})  # with any other PyYAML reads a text out of `{=: text}`


class Unreadable(ConfigError):
    """problems: `line:column: what is wrong`, 1-based."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read(text: str) -> tuple[yaml.Node | None, Any]:
    """None: nothing stands there. Raises Unreadable."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            return None, None
        if problems := list(_mistakes(root, (), set())):
            raise Unreadable(problems)
        _measured(root, {})
        return root, SafeConstructor().construct_document(root)
    except (ValueError, OverflowError) as error:  # PyYAML's of "\U00110000", without a place
        raise Unreadable([f"1:1: a text asks for a character that there is none of: {error}"]) from error
    except RecursionError:
        raise Unreadable([f"1:1: nested more than {DEPTH_MAX} levels deep"]) from None
    except ReaderError as error:
        before = text[: error.position].split("\n")
        sign = f"{text[error.position]!a} is no character of YAML; take it out, or write it so in double quotes"
        raise Unreadable([f"{len(before)}:{len(before[-1]) + 1}: {sign}"]) from error
    except yaml.YAMLError as error:
        raise Unreadable([_said(error)]) from error


def read_file(path: Path, chars_max: int = FILE_CHARS_MAX) -> tuple[yaml.Node, dict[str, Any]]:
    """A file that holds a mapping. Raises Unreadable, whose problems begin with the file's name."""
    try:
        text = path.read_bytes().decode()
        if len(text) > chars_max:
            raise Unreadable([f"1:1: over {chars_max} characters"])
        root, said = read(text)
        if not isinstance(root, yaml.MappingNode):
            raise Unreadable(["1:1: values by their names belong here, as in `name: value`"])
    except OSError as error:
        raise Unreadable([f"{path}: {error.strerror}"]) from error
    except UnicodeDecodeError:
        raise Unreadable([f"{path}:1:1: not UTF-8 text"]) from None
    except Unreadable as error:
        raise Unreadable([f"{path}:{each}" for each in error.problems]) from error
    return root, said


def place(node: yaml.Node) -> str:
    """Line and column, 1-based."""
    return f"{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def misread(
    node: yaml.Node, under: frozenset[str], *, inside: bool = False, seen: set[tuple[int, bool]] | None = None
) -> Iterator[str]:
    """Values that YAML reads otherwise than they are written: as a date (2026-11-20), as minutes (12:30) or by eights
    (010), a line each. under: keys below which such a one was meant as text. inside: below one of them already. seen:
    what was looked at, by id.
    """
    seen = set() if seen is None else seen
    if (id(node), inside) in seen:
        return
    seen.add((id(node), inside))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from misread(value, under, inside=inside or key.value in under, seen=seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from misread(item, under, inside=inside, seen=seen)
    elif inside and node.tag == f"{STANDARD}timestamp":
        yield f"{place(node)}: YAML reads {node.value} as a date; put it in quotes"
    elif inside and node.tag in NUMBERS and (":" in node.value or EIGHTS.fullmatch(node.value)):
        yield f"{place(node)}: YAML reads {node.value} as {SafeConstructor().construct_object(node)}; put it in quotes"


def _mistakes(node: yaml.Node, above: tuple[yaml.Node, ...], done: set[int]) -> Iterator[str]:
    if node in above:
        yield f"{place(node)}: this stands inside itself, by its own anchor"
        return
    if len(above) > DEPTH_MAX:
        yield f"{place(node)}: nested more than {DEPTH_MAX} levels deep"
        return
    if id(node) in done:
        return
    done.add(id(node))
    if not node.tag.startswith(STANDARD) or node.tag == BINARY:
        yield f"{place(node)}: the tag {node.tag} means nothing here; leave it out, or put the text in quotes"
    elif isinstance(node, yaml.ScalarNode):
        yield from _of_scalar(node)
    elif node.tag not in COLLECTIONS:
        yield f"{place(node)}: no {node.tag.removeprefix(STANDARD)} stands here, as its tag says; leave the tag out"
    elif isinstance(node, yaml.MappingNode):
        yield from _of_keys(node)
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag not in NO_TAGS_OF_VALUES:
                yield from _mistakes(key, (*above, node), done)
            yield from _mistakes(value, (*above, node), done)
    else:
        for item in node.value:
            yield from _mistakes(item, (*above, node), done)


def _of_scalar(node: yaml.ScalarNode) -> Iterator[str]:
    if node.tag in NO_TAGS_OF_VALUES:
        yield f"{place(node)}: {node.value} means something to YAML; put it in quotes"
        return
    try:
        SafeConstructor().construct_object(node)
    except ValueError as error:
        yield f"{place(node)}: {node.value} is none: {error}; a date is written 2026-11-20, other text in quotes"
    except (LookupError, AttributeError):  # PyYAML's of `!!bool maybe`, `!!int ''` and `!!timestamp soon`
        yield f"{place(node)}: this is no {node.tag.removeprefix(STANDARD)}, as its tag says; leave the tag out"
    except yaml.YAMLError as error:
        yield _said(error)
    if node.tag == NULL and node.value not in NULLS:
        yield f"{place(node)}: this is no null, as its tag says; leave the tag out"
    if any("\ud800" <= each <= "\udfff" for each in node.value):
        yield f"{place(node)}: \\u with d8 to df is half a character; write the character itself"


def _measured(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int, int]:
    """How much stands there, values and characters in them, how much of it by aliases alone, and how many levels.

    known: size and levels of what is measured already, by id: met again, it is an alias. Raises Unreadable.
    """
    if id(node) in known:
        size, levels = known[id(node)]
        return size, size, levels
    size, repeated, levels = 1, 0, 0
    if isinstance(node, yaml.ScalarNode):
        size += len(node.value)
    else:
        for child in chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value:
            its_size, its_repeated, its_levels = _measured(child, known)
            size, repeated, levels = size + its_size, repeated + its_repeated, max(levels, its_levels)
    if repeated > ALIASED_MAX:
        raise Unreadable([f"{place(node)}: aliases repeat over {ALIASED_MAX} values and characters here"])
    if levels > DEPTH_MAX:
        raise Unreadable([f"{place(node)}: nested more than {DEPTH_MAX} levels deep, by aliases"])
    known[id(node)] = size, levels + 1
    return size, repeated, levels + 1


def _of_keys(node: yaml.MappingNode) -> Iterator[str]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            yield (
                f"{place(key)}: braces and brackets make a mapping or a list, and neither is a key; an expression "
                "stands without braces, as in `when: input.amount > 5`, and text that begins with one in quotes"
            )
            continue
        if key.value in seen and key.tag != MERGE:
            yield f"{place(key)}: the key {key.value} stands here a second time"
        seen.add(key.value)


def _said(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = str(getattr(error, "problem", None) or "not YAML")
    hint = "; indent by spaces" if "'\\t'" in problem else ""
    if str(getattr(error, "context", "")).startswith("while parsing a flow") and problem.endswith(_BREAKS):
        hint = "; in braces and brackets, text with one of [ ] { } ? or a comma in it stands in quotes"
    return f"{line}:{column}: {problem}{hint}"


_BREAKS = ("but got '['", "but got '{'", "but got '?'")
