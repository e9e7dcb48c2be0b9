"""A team's own labels: data/<head>/labels.csv of a model's version, one file a head, read strictly.

In: a CSV with the columns text, label and split (others are not read). A row without a label is a stray: it belongs to
none of the labels, and the out-of-scope score is made of such. split: train, validation or test; empty, or no such
column: chosen by a hash of the text, the same on every run, in the shares of SPLITS. Out: the rows. Guaranteed: every
mistake is said with file and line; no text is in two splits or has two labels, so that what a head is judged on was not
learned by heart; there is enough of everything to fit, calibrate and judge.
Not done: texts that are nearly the same on both sides of a split are not found (splits.py does so for what ships).
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from aios.streams import model_files
from aios.streams.errors import ConfigError

FILE = "labels.csv"
HEAD = re.compile(r"[a-z][a-z0-9_]{0,63}")
SPLITS: Mapping[str, int] = {"train": 70, "validation": 15, "test": 15}  # percent of the rows that name none
LABEL_TEXTS_MIN = 2  # that train, of each label
JUDGED_MIN = 20  # rows with a label, of validation and of test
STRAYS_MIN = 20  # that train
PROBLEMS_MAX = 10  # said at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """label: empty, of a stray."""

    text: str
    label: str
    split: str


def files(model: str) -> dict[str, Path]:
    """Of name@version, by head. Raises ConfigError: a head has no name that a request could have."""
    found = {path.parent.name: path for path in (model_files.folder(model) / model_files.DATA).glob(f"*/{FILE}")}
    for head, path in found.items():
        if not HEAD.fullmatch(head):
            raise ConfigError(f"{path}: a head is named in lower-case letters, digits and _, not {head}")
    return dict(sorted(found.items()))


def read(path: Path) -> list[Row]:
    """The rows of a head; of the same text twice, one. Raises ConfigError, a line a mistake."""
    rows, problems = _read(path)
    problems = problems or [f"{path}: {says}" for says in _lacking(rows)]
    if problems:
        more = [f"and {len(problems) - PROBLEMS_MAX} more"] if len(problems) > PROBLEMS_MAX else []
        raise ConfigError("\n".join([*problems[:PROBLEMS_MAX], *more]))
    return rows


def drawn(text: str) -> str:
    """The split of a text that names none."""
    number = int.from_bytes(hashlib.sha256(_same(text).encode()).digest()[:8]) % 100
    upto = zip(SPLITS, accumulate(SPLITS.values()), strict=True)
    return next(split for split, bound in upto if number < bound)


def _read(path: Path) -> tuple[list[Row], list[str]]:
    seen: dict[str, tuple[int, Row]] = {}
    problems: list[str] = []
    try:
        for line, row, wrong in _lines(path):
            before, first = seen.setdefault(_same(row.text), (line, row))
            twice = f"the same text as in line {before}, where it is {_shown(first)}, not {_shown(row)}"
            says = wrong or (twice if (first.label, first.split) != (row.label, row.split) else "")
            problems += [f"{path}:{line}: {says}"] if says else []
    except (UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{path} is no CSV in UTF-8: {error}")
    return [row for _, row in seen.values()], problems


def _lines(path: Path) -> Iterator[tuple[int, Row, str]]:
    """The line in which each row begins, the row, and what is wrong with it."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in ("text", "label") if name not in (reader.fieldnames or ())]:
            raise ConfigError(f"{path}:1: no column {missing[0]}: the first line is text,label,split")
        begins = reader.line_num + 1
        for said in reader:
            text, label, split = ((said.get(name) or "").strip() for name in ("text", "label", "split"))
            says = ""
            if not text:
                says = "there is no text"
            elif split and split not in SPLITS:
                says = f"split is {', '.join(SPLITS)} or empty, not {split[:40]}"
            yield begins, Row(text=text, label=label, split=split or drawn(text)), says
            begins = reader.line_num + 1


def _lacking(rows: Sequence[Row]) -> Iterator[str]:
    """What there is too little of."""
    counts = Counter((row.split, row.label) for row in rows)
    trained = {label for split, label in counts if split == "train" and label}
    if len(trained) < 2:
        yield f"{len(trained)} labels have rows that train: a head tells two labels apart, or more"
    for label in sorted({row.label for row in rows if row.label}):
        if counts["train", label] < LABEL_TEXTS_MIN:
            yield f"label {label} has {counts['train', label]} rows that train, and needs {LABEL_TEXTS_MIN}"
    for split in ("validation", "test"):
        found = sum(row.split == split and bool(row.label) for row in rows)
        if found < JUDGED_MIN:
            what = "calibrates" if split == "validation" else "judges"
            yield f"{found} rows with a label are of the split {split}, which {what}, and {JUDGED_MIN} are needed"
    if counts["train", ""] < STRAYS_MIN:
        yield (
            f"{counts['train', '']} rows without a label train, and {STRAYS_MIN} are needed: texts that belong to none "
            "of the labels, by which the head learns to say so"
        )


def _same(text: str) -> str:
    """Alike in two texts that differ in case and blanks alone."""
    return " ".join(text.casefold().split())


def _shown(row: Row) -> str:
    return f"{row.label or 'no label'} in {row.split}"
