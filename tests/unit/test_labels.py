"""A team's own labels: what may stand in labels.csv, and what is said of what may not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.inference_workers.training import labels
from aios.inference_workers.training.labels import Row
from aios.streams.errors import ConfigError

HEADER = "text,label,split\n"
ENOUGH = {
    ("train", "claim"): 3,
    ("train", "refund"): 3,
    ("train", ""): 20,
    ("validation", "claim"): 20,
    ("test", "refund"): 20,
}
"""Rows by split and label: just as many as are needed, and one more of each label."""


def lines(counts: dict[tuple[str, str], int]) -> list[str]:
    return [
        f"text {number} of {label or 'none'} in {split},{label},{split}"
        for (split, label), count in counts.items()
        for number in range(count)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / labels.FILE


def test_labels_are_rows_of_text_label_and_split(path: Path) -> None:
    """Other columns are not read, nor is a text twice; one may have many lines; a row without a label is a stray."""
    more = ['"A text\nof two lines, with a comma",claim,train,x', "text 0 of claim in train,claim,train,again"]
    body = [*(f"{line}," for line in lines(ENOUGH)), *more]
    path.write_text("\ufefftext,label,split,note\n" + "\n".join(body), encoding="utf-8")
    rows = labels.read(path)
    assert Row(text="A text\nof two lines, with a comma", label="claim", split="train") in rows
    assert Counter((row.split, row.label) for row in rows) == {**ENOUGH, ("train", "claim"): 4}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (",claim,train", "71: there is no text"),
        ("hello,claim,dev", "71: split is train, validation, test or empty, not dev"),
        (
            "text 0 of claim  IN train,refund,train",
            "71: the same text as in line 2, where it is claim in train, not refund",
        ),
        ("text 0 of claim in train,claim,test", "71: the same text as in line 2, .* not claim in test"),
        ("text 0 of claim in train,,train", "71: the same text as in line 2, .* not no label in train"),
    ],
)
def test_a_wrong_row_is_said_with_its_line(path: Path, line: str, says: str) -> None:
    """A text that is learned and judged, or has two labels, would flatter or spoil the head."""
    there = lines({**ENOUGH, ("validation", "claim"): 22, ("train", "refund"): 4})
    path.write_text(HEADER + "\n".join([*there, line]), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{labels.FILE}:{says}"):
        labels.read(path)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({("train", "refund"): 0, ("test", "refund"): 0, ("test", "claim"): 20}, "1 labels have rows that train"),
        ({("train", "refund"): 1}, "label refund has 1 rows that train, and needs 2"),
        ({("validation", "other"): 1}, "label other has 0 rows that train"),
        ({("validation", "claim"): 19}, "19 rows with a label are of the split validation, which calibrates"),
        ({("test", "refund"): 19}, "19 rows with a label are of the split test, which judges"),
        ({("train", ""): 19}, "19 rows without a label train, and 20 are needed"),
    ],
)
def test_too_little_of_something_is_said_before_anything_is_fitted(
    path: Path, changed: dict[tuple[str, str], int], says: str
) -> None:
    """Each label must be learned, and there must be texts to calibrate, to judge, and that belong to none."""
    path.write_text(HEADER + "\n".join(lines({**ENOUGH, **changed})), encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        labels.read(path)
    path.write_text(HEADER + "\n".join(lines(ENOUGH)), encoding="utf-8")
    assert labels.read(path)


def test_what_is_no_file_of_labels_is_said(path: Path) -> None:
    """Other columns, other bytes; of many mistakes the first ten."""
    path.write_text("sentence,label\nhello,claim\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r":1: no column text"):
        labels.read(path)
    path.write_bytes(b"text,label\n\xff,claim\n")
    with pytest.raises(ConfigError, match="no CSV in UTF-8"):
        labels.read(path)
    path.write_text(HEADER + ",x,train\n" * 30, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        labels.read(path)
    assert len(str(caught.value).splitlines()) == labels.PROBLEMS_MAX + 1


@given(st.text(min_size=1))
def test_a_text_that_names_no_split_has_always_the_same(text: str) -> None:
    """However it is written, by case and blanks."""
    assert labels.drawn(text) in labels.SPLITS
    assert labels.drawn(f"  {text.casefold()} ") == labels.drawn(text)


def test_splits_are_drawn_in_their_shares(path: Path) -> None:
    """Of a thousand texts without one, and without the column."""
    body = "".join(f"a text with number {number},{number % 5 or ''}\n" for number in range(1_000))
    path.write_text("text,label\n" + body, encoding="utf-8")
    found = Counter(row.split for row in labels.read(path))
    for split, percent in labels.SPLITS.items():
        assert found[split] == pytest.approx(10 * percent, abs=40)
