"""A contract beside a workflow's file: each mistake is told at its line and column there, not in the workflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from aios.processors.language import contract_files, workflow_files
from aios.streams.errors import ConfigError
from tests.fakes import claims

NAME = "expense.claimed.v1"
CONTRACT = """\
{"type": "record", "name": "ExpenseClaimed", "namespace": "acme.expenses",
 "fields": [
  {"name": "employee", "type": "string", "aios:max": 100},
  {"name": "purpose", "type": ["null", "string"], "default": null},
  {
\t"type": {"type": "array", "items": {"type": "record", "name": "Receipt", "fields": [
    {"name": "what", "type": "string", "default": ""},
    {"name": "cents", "type": "int", "aios:min": 0}]}},
\t"name": "receipts"}
]}
"""


def test_a_contract_without_a_mistake_is_read(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.avsc").write_text(CONTRACT, encoding="utf-8")
    assert contract_files.beside(tmp_path, NAME).contract == NAME


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ('"aios:max": 100', '"aios:max": "9"', "3:3", "employee: aios:max is a number"),
        (
            '["null", "string"], "default": null',
            '["long", "string"]',
            "4:3",
            "purpose: a union of null and one type only",
        ),
        ('"type": "int", "aios:min"', '"type": "float", "aios:min"', "8:5", "receipts[].cents: no float"),
        ('"name": "what", "type": "string"', '"name": "what", "type": "strin"', "7:5", "unknown type 'strin'"),
        ('"name": "what"', '"name": "model_dump"', "7:5", "this name cannot be a field's"),
        ('"name": "what"', '"name": "what it is"', "7:5", "what it is: a field's name has letters, digits and _"),
        (
            '"default": ""}',
            '"default": null}',
            "7:5",
            'what: its default is no string; what may be missing has the type ["nu',
        ),
        ('"aios:min": 0', '"aios:min": 0, "default": "0"', "8:5", "cents: its default is no int"),
        ("acme.expenses", "aios.expenses", "1:1", "the namespace aios is taken"),
        ('"aios:min": 0}]}},', '"aios:min": 0}]}}', "9:2", "no JSON: Expecting ',' delimiter"),
        ('"name": "receipts"}\n]', '"name": "receipts"},\n]', "10:1", "behind the last one stands no comma"),
        ('"namespace": "acme.expenses",', "namespace: acme,", "1:46", "no JSON"),
        ("employee", "employe\udcff", "1:1", "not UTF-8 text"),
        ("null}", 'null, "doc": "\' \\/ #"}, {"name": "a", "type": "bytes"}', "4:86", "a: no bytes"),
    ],
)
def test_a_mistake_is_told_where_it_stands(tmp_path: Path, old: str, new: str, place: str, says: str) -> None:
    """Of a field, however deep, in whatever order its keys stand; of the whole, at the file's beginning."""
    workflow, file = claims.write(tmp_path), tmp_path / f"{NAME}.avsc"
    assert CONTRACT.count(old) == 1
    file.write_bytes(CONTRACT.replace(old, new).encode("utf-8", "surrogateescape"))
    found, (problem, *_) = workflow_files.read(workflow)
    assert found is None
    assert problem.startswith(f"{file}:{place}: "), problem
    assert says in problem


def test_a_contract_that_there_is_none_of_is_a_mistake_of_the_workflow(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean document\.received\.v1\?.*one of your own is"):
        contract_files.beside(tmp_path, "document.receved.v1")
