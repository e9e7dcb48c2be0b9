"""Releases of our contracts: what was promised once is promised for ever.

Enters: the working files avro/<contract>.avsc, the twins of models.py, and avro/released/<contract>/<n>.avsc.
Leaves: the problems of a contract, one sentence with its file each; or a new released file.
Guaranteed: a released file never changes (its SHA-256 stands in released/SHA256SUMS, in sha256sum's format) and never
vanishes; a working contract that has no problem is safe to decode with, can be read by every reader of every release
and reads every record of them (FULL_TRANSITIVE), and says the same as its twin: fields, order, types, defaults, docs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from aios.schemas import compat, contracts
from aios.schemas.errors import ContractError, SchemaRefused
from aios.schemas.models import EVENTS, Event
from aios.schemas.safety import Json, Schema

SUMS = "SHA256SUMS"

TYPES: Mapping[str, str] = {
    "str": '"string"',
    "bool": '"boolean"',
    "float": '"double"',
    "bytes | None": '["null","bytes"]',
    "tuple[str, ...]": '{"type":"array","items":"string"}',
    "tuple[int, ...]": '{"type":"array","items":"long"}',
    "Mapping[str, int]": '{"type":"map","values":"long"}',
    "Mapping[str, str]": '{"type":"map","values":"string"}',
    "tuple[Mapping[str, str], ...]": '{"type":"array","items":"a record of texts"}',
}
"""What a twin's annotation stands for; `int` is int or long, as the file says."""

INTS = ('"int"', '"long"', '{"type":"long","logicalType":"timestamp-millis"}')


@dataclass(frozen=True, slots=True)
class Problem:
    """file: relative to avro/, or models.py."""

    file: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}: {self.why}"


class Releases:
    """The files under one folder (contracts.FOLDER in service)."""

    def __init__(self, folder: Path = contracts.FOLDER) -> None:
        self._folder = folder
        self._released = folder / "released"

    def names(self) -> list[str]:
        """Every contract that has a working file or a release."""
        working = {path.stem for path in self._folder.glob("*.avsc")}
        return sorted(working | {path.name for path in self._released.glob("*") if path.is_dir()})

    def versions(self, contract: str) -> list[int]:
        """Numbers of its releases, oldest first."""
        return sorted(int(path.stem) for path in (self._released / contract).glob("*.avsc") if path.stem.isdigit())

    def text(self, contract: str, version: int | None = None) -> str:
        """A file as it stands; the working one without a version. Raises KeyError where there is none."""
        path = self._working(contract) if version is None else self._release(contract, version)
        if not path.is_file():
            raise KeyError(contract)
        return path.read_text(encoding="utf-8")

    def changed(self, contract: str) -> bool:
        """Whether the working contract differs from its last release in anything but layout."""
        versions = self.versions(contract)
        return not versions or json.loads(self.text(contract)) != json.loads(self.text(contract, versions[-1]))

    def problems(self) -> list[Problem]:
        """Everything that is wrong with any contract, release or twin; empty: all is well."""
        found = [problem for name in self.names() for problem in self.problems_of(name)]
        found += [
            Problem("models.py", f"{name} has no file {name}.avsc") for name in sorted(EVENTS.keys() - {*self.names()})
        ]
        return found + list(self._altered())

    def problems_of(self, contract: str) -> list[Problem]:
        """What is wrong with one contract's working file."""
        file = f"{contract}.avsc"
        if not self._working(contract).is_file():
            return [Problem(file, "was released, and may be retired by a topic of another name, but not removed")]
        try:
            new = contracts.parse_file(self._working(contract))
            old = {n: contracts.parse_file(self._release(contract, n)) for n in self.versions(contract)}
        except (SchemaRefused, ValueError) as error:
            return [Problem(file, str(error))]
        found = compat.problems(new, old)
        if contract in EVENTS:
            found += differences(EVENTS[contract], new)
        else:
            found.append(f"models.py has no twin of {contract}")
        return [Problem(file, why) for why in found]

    def release(self, contract: str) -> Path | None:
        """Write the working contract as its next release; None: nothing has changed since the last one.

        Raises ContractError with every problem, KeyError where there is no such contract.
        """
        self.text(contract)
        found = [*self.problems_of(contract), *self._altered()]
        if found:
            raise ContractError("\n".join(map(str, found)))
        if not self.changed(contract):
            return None
        target = self._release(contract, max(self.versions(contract), default=0) + 1)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._working(contract), target)
        sums = self._sums() | {self._place(target): _sha256(target)}
        lines = [f"{digest}  {place}\n" for place, digest in sorted(sums.items())]
        (self._released / SUMS).write_text("".join(lines), encoding="utf-8")
        return target

    def _altered(self) -> Iterator[Problem]:
        sums = self._sums()
        present = {self._place(path): path for path in sorted(self._released.glob("*/*"))}
        for place, digest in sums.items():
            if place not in present:
                yield Problem(f"released/{place}", "is gone; a release is for ever")
            elif _sha256(present[place]) != digest:
                yield Problem(f"released/{place}", f"differs from its sum in {SUMS}; a release never changes")
        for place in present.keys() - sums.keys():
            yield Problem(f"released/{place}", f"is not in {SUMS}; releases are written by `aios schema release`")

    def _sums(self) -> dict[str, str]:
        try:
            lines = (self._released / SUMS).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
        return {place: digest for digest, place in (line.split("  ", 1) for line in lines)}

    def _working(self, contract: str) -> Path:
        return self._folder / f"{contract}.avsc"

    def _release(self, contract: str, version: int) -> Path:
        return self._released / contract / f"{version}.avsc"

    def _place(self, path: Path) -> str:
        return path.relative_to(self._released).as_posix()


def differences(twin: type[Event], schema: Schema) -> list[str]:
    """Where a twin and its contract do not say the same."""
    record: Json = schema.resolved
    written = {one["name"]: one for one in record["fields"]}
    mirrored = {one.name: one for one in dataclasses.fields(cast(Any, twin))}
    found = []
    if record.get("doc") != " ".join((twin.__doc__ or "").split()):
        found.append(f"its doc is not that of {twin.__name__}")
    if list(written) != list(mirrored):
        found.append(f"its fields are {', '.join(written)}; those of {twin.__name__} are {', '.join(mirrored)}")
    for name in written.keys() & mirrored.keys():
        found += [f"{name}: {why}" for why in _field_differences(written[name], mirrored[name])]
    return sorted(found)


def _field_differences(written: Json, mirrored: dataclasses.Field[Any]) -> Iterator[str]:
    kind = json.dumps(_shape(written["type"]), separators=(",", ":"))
    expected = INTS if mirrored.type == "int" else (TYPES.get(str(mirrored.type)),)
    if kind not in expected:
        yield f"its type is {kind}; its twin's is {mirrored.type}"
    if not written.get("doc"):
        yield "it has no doc"
    has_default = mirrored.default is not dataclasses.MISSING
    default = list(mirrored.default) if isinstance(mirrored.default, tuple) else mirrored.default
    if has_default != ("default" in written) or (has_default and default != written["default"]):
        yield f"its default is {written.get('default', 'none')!r}; its twin's is {default if has_default else 'none'!r}"


def _shape(kind: Json) -> Json:
    """A list of records whose fields are all texts is a list of mappings in the twin, whatever these are called."""
    items = kind.get("items") if isinstance(kind, dict) else None
    if not isinstance(items, dict) or items["type"] != "record":
        return kind
    texts = all(one["type"] == "string" and one.get("doc") for one in items["fields"])
    return {"type": "array", "items": "a record of texts"} if texts else kind


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
