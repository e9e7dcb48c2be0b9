"""Rows of a CSV or JSON-lines file, one at a time.

Enters: a file, trusted by nobody. Leaves: rows, numbered, each with its fields or what is wrong with it. Guaranteed:
a row that cannot be read is a row that says so, and the ones behind it are read; memory is bounded by a line.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from aios.streams import ingest
from aios.streams.errors import ConfigError
from aios.streams.http.problem import Problem

KINDS = (".csv", ".jsonl")
LINE_BYTES_MAX = 1 << 20
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """fields: by column, or `wrong` says why there are none. line: where it ends; where a broken one begins."""

    number: int
    line: int
    fields: Mapping[str, Any]
    wrong: str = ""


def is_csv(file: Path) -> bool:
    return file.suffix.lower() == ".csv"


def header(file: Path) -> Sequence[str]:
    """Names of a CSV file's columns. Raises ConfigError for a first line that is none."""
    with file.open("rb") as opened:
        try:
            return csv.DictReader(_text(opened), strict=True).fieldnames or ()
        except csv.Error as error:
            raise ConfigError(f"{file}: its first line names no columns: {error}") from None


def digest(file: Path) -> str:
    """SHA-256 of the content, hex."""
    found = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def read(file: Path) -> Iterator[Row]:
    """Every row, numbered from 1; empty lines are none. Raises ConfigError for a line over LINE_BYTES_MAX."""
    with file.open("rb") as opened:
        rows = _csv_rows(opened) if is_csv(file) else _json_rows(opened)
        for number, (line, fields, wrong) in enumerate(rows, start=1):
            yield Row(number, line, fields, wrong)


def _csv_rows(opened: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any], str]]:
    csv.field_size_limit(LINE_BYTES_MAX)
    reader = csv.DictReader(_text(opened), strict=True)  # else a quote that nobody closed swallows the rows behind it
    if not reader.fieldnames:
        return
    while True:
        begins = reader.reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield begins, {}, f"no CSV: {error}"
            continue
        if row is None:
            return
        wrong = "more cells than columns" if None in row else ""
        if not all(_is_utf8(str(value)) for value in row.values()):
            wrong = "not UTF-8"
        yield reader.line_num, {str(name): value for name, value in row.items() if name and value}, wrong


def _json_rows(opened: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any], str]]:
    for number, line in enumerate(iter(lambda: opened.readline(LINE_BYTES_MAX + 1), b""), start=1):
        if not line.strip():
            continue
        if len(line) > LINE_BYTES_MAX:
            raise ConfigError(f"{opened.name}:{number}: a line has more than {LINE_BYTES_MAX} bytes")
        try:
            found = ingest.parse(line.rstrip())
        except Problem as problem:
            yield number, {}, str(problem).replace("the body", "the line").replace(" at line 1, column", " at column")
            continue
        if isinstance(found, dict):
            yield number, found, ""
        else:
            yield number, {}, "no JSON object"


def _text(opened: BinaryIO) -> Iterator[str]:
    """Lines as text; bytes that are no UTF-8 stay recognisable, and their row is rejected."""
    for number, line in enumerate(iter(lambda: opened.readline(LINE_BYTES_MAX + 1), b"")):
        if len(line) > LINE_BYTES_MAX:
            raise ConfigError(f"{opened.name}:{number + 1}: a line has more than {LINE_BYTES_MAX} bytes")
        yield line.decode("utf-8-sig" if number == 0 else "utf-8", "surrogateescape")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
