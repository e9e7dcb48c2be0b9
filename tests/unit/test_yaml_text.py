"""YAML that people write: what is wrong has its line and column, and nothing ends the reader or keeps it busy."""

from __future__ import annotations

import pytest

from aios.streams import yaml_text
from aios.streams.yaml_text import ALIASED_MAX, DEPTH_MAX, Unreadable

LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))])
MERGES = "\n".join(["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40))])
STAIRS = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, DEPTH_MAX + 5))])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: !!bool foo", "1:4: this is no bool"),
        ("a: 1\nb: !!int ''", "2:4: this is no int"),
        ("a: !!float ''", "1:4: this is no float"),
        ("a: 1\nb: one\x0btwo", "2:7: '\\x0b' is no character of YAML"),
        ("a: !!timestamp foo", "1:4: this is no timestamp"),
        ("a: !!null foo", "1:4: this is no null"),
        ("a: !!binary '*'", "1:4: the tag tag:yaml.org,2002:binary means nothing"),
        ("a: !!binary aGVsbG8=", "1:4: the tag tag:yaml.org,2002:binary means nothing"),
        ("a: 1\n!!bool foo: 1", "2:1: this is no bool"),
        ("a: !!bool {=: maybe}", "1:4: no bool stands here"),
        ("a: 1\nb: !!int {=: ''}", "2:4: no int stands here"),
        ("a: !!timestamp {=: soon}", "1:4: no timestamp stands here"),
        ("a: !!set {b, c}", "1:4: no set stands here"),
        ("a: !!int [1]", "1:4: no int stands here"),
        ("a: =", "1:4: = means something to YAML; put it in quotes"),
        ("a: [<<]", "1:5: << means something to YAML; put it in quotes"),
        ('a: "\\ud83d\\ude00"', "1:4: \\u with d8 to df is half a character"),
        ('a: 1\n"\\ud83d": 1', "2:1: \\u with d8 to df is half a character"),
        (LAUGHS, f"15:6: aliases repeat over {ALIASED_MAX} values"),
        (MERGES, f"14:16: aliases repeat over {ALIASED_MAX} values"),
        (STAIRS, f"{DEPTH_MAX + 1}:6: nested more than {DEPTH_MAX} levels deep, by aliases"),
    ],
)
def test_what_cannot_be_read_has_its_place(text: str, told: str) -> None:
    with pytest.raises(Unreadable) as caught:
        yaml_text.read(text)
    assert [each[: len(told)] for each in caught.value.problems] == [told]


def test_what_a_file_repeats_in_reason_and_all_that_it_does_not_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "ALIASED_MAX", 50)
    _, said = yaml_text.read(f'a: &a {{b: "\\U0001f600", "=": 1}}\nc: {{<<: *a, d: *a}}\ne: [{"x, " * 60}]')
    assert said["c"] == {"b": "\U0001f600", "=": 1, "d": {"b": "\U0001f600", "=": 1}}
    assert len(said["e"]) == 60


def test_what_yaml_reads_otherwise_than_it_is_written_has_its_place() -> None:
    """Where it is to be plain; a date may be meant elsewhere."""
    text = "on: 2026-11-20\na: {b: [2026-11-20, '2026-11-20'], 12:30: 1:30}\nc: 010\nd: [10, 0x10, 1.5, !!null , ~]"
    root, _ = yaml_text.read(text)
    assert root is not None
    assert list(yaml_text.misread(root, frozenset({"a", "c", "d"}))) == [
        "2:9: YAML reads 2026-11-20 as a date; put it in quotes",
        "2:43: YAML reads 1:30 as 90; put it in quotes",
        "3:4: YAML reads 010 as 8; put it in quotes",
    ]
