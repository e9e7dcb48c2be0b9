"""The JSON Schema of the language: what stands beside the workflows is what the classes say."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from aios.processors.language import workflow_files, workflow_schema
from tests.fakes.flow import EVERY_KIND


def test_the_published_schema_is_that_of_the_classes() -> None:
    """`aios workflow schema --write` makes it anew."""
    assert workflow_schema.FILE.read_text(encoding="utf-8") == workflow_schema.text()


SHIPPED = sorted(path for path in workflow_files.FOLDER.glob("*.yaml") if ".cases." not in path.name)


@pytest.mark.parametrize("name", [path.name for path in SHIPPED])
def test_every_shipped_workflow_fits_it(name: str) -> None:
    """An editor marks nothing in a file that is sound."""
    said = yaml.safe_load((workflow_files.FOLDER / name).read_text(encoding="utf-8"))
    if signed := said.get("signed_off"):
        said["signed_off"] = {"by": signed["by"], "on": str(signed.get("on", signed.get(True)))}
    jsonschema.validate(said, workflow_schema.schema())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("status: gathering", "stats: gathering"),
        ("items_max: 3", "items_max: 0"),
        ("effect: reconciled", "effect: sometimes"),
        ("    emit: {status: expired", "    emit: {status: gone"),
        ("owner: tests\n", ""),
        ("mode: auto", "mode: alone"),
        ("for_s: 3600", "for_s: soon"),
    ],
)
def test_what_the_language_refuses_an_editor_marks(old: str, new: str) -> None:
    """And what it allows is marked nowhere."""
    sound = yaml.safe_load(EVERY_KIND.replace("{by: Somebody, on: 2026-11-20}", "{by: Somebody, 'on': '2026-11-20'}"))
    jsonschema.validate(sound, workflow_schema.schema())
    assert old in EVERY_KIND
    broken = EVERY_KIND.replace("{by: Somebody, on: 2026-11-20}", "{by: Somebody, 'on': '2026-11-20'}")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(broken.replace(old, new, 1)), workflow_schema.schema())
