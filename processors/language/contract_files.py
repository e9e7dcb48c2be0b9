"""The input contract beside a workflow's file, an Avro record in `<contract>.avsc`: each mistake with its place.

Enters: a folder and a contract's name. Leaves: the Input, or Misread with a line `file:line:column: what is wrong` for
each mistake. Guaranteed: a mistake of a field, however deep, is told where that field begins; one of the whole, or that
has no place, at the file's first line.

Rejected: a parser of JSON that keeps places (the file is YAML too, which is read with its places already).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from aios.streams import inputs, yaml_text
from aios.streams.errors import ConfigError
from aios.streams.inputs import Input
from aios.streams.part import close_to

WHERE = re.compile(r"(?:schema\.)?([^:]+): ")  # before what is wrong: documents[].name
STEPS = frozenset({"items", "values"})  # of a place that are no fields


class Misread(ConfigError):
    """problems: a line for each, with the file, its line and column."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def beside(folder: Path, contract: str) -> Input:
    """One of this release, else of the folder. Raises Misread, and ConfigError where there is none."""
    if contract in inputs.SHIPPED:
        return inputs.shipped(contract)
    file = folder / f"{contract}.avsc"
    if not file.is_file():
        known = close_to(contract, list(inputs.SHIPPED))
        raise ConfigError(f"there is no contract {contract}{known}; one of your own is {file.name} beside this file")
    try:
        text = file.read_text(encoding="utf-8")
        json.loads(text)
    except UnicodeDecodeError:
        raise Misread([f"{file}:1:1: not UTF-8 text"]) from None
    except json.JSONDecodeError as error:
        comma = re.search(r",\s*$", text[: error.pos]) and text[error.pos : error.pos + 1] in ("}", "]")
        hint = "; behind the last one stands no comma" if comma else ""
        raise Misread([f"{file}:{error.lineno}:{error.colno}: no JSON: {error.msg}{hint}"]) from None
    except RecursionError:
        raise Misread([f"{file}:1:1: nested too deep"]) from None
    try:
        return inputs.of_text(contract, text)
    except ConfigError as error:
        raise Misread(list(_placed(file, contract, text, str(error).splitlines()))) from None


def _placed(file: Path, contract: str, text: str, said: list[str]) -> Iterator[str]:
    root = _nodes(text)
    for each in said:
        problem = each.removeprefix(f"{contract}: ")
        where = WHERE.match(problem)
        yield f"{file}:{_at(root, where[1] if where else '')}: {problem.removeprefix('schema.')}"


def _nodes(text: str) -> yaml.Node | None:
    """None: this JSON is no YAML."""
    try:
        return yaml.compose(text.replace("\t", " "), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _at(root: yaml.Node | None, where: str) -> str:
    """Line and column, 1-based, of the deepest field of the place that the file has."""
    if root is None:
        return "1:1"
    found = inside = root
    for name in re.split(r"[.\[\]*]+", where):
        if name and name not in STEPS:
            one = next((each for each in _fields(inside) if _of(each, "name") == name), None)
            if one is None:
                break
            found = inside = one
    return yaml_text.place(found)


def _fields(node: yaml.Node) -> Iterator[yaml.Node]:
    """Of the record that stands here, or in what stands here: a field's type, an item, a branch of a union."""
    if isinstance(node, yaml.SequenceNode):
        for branch in node.value:
            yield from _fields(branch)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "fields" and isinstance(value, yaml.SequenceNode):
                yield from value.value
            elif key.value in ("type", "items", "values"):
                yield from _fields(value)


def _of(node: yaml.Node, key: str) -> str:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((str(value.value) for name, value in pairs if name.value == key), "")
