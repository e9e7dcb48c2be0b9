"""`aios model new`: the folder of a model's next version, for a team to fill.

Enters: a name, a version to begin with, and perhaps a folder of other weights on a disk. Leaves: in the last of the
folders of models (streams/model_files.py) a card that says what is known and what is not said yet, labels of the
version before, for one that labels the place of its own; in files.json the weights with the SHA-256 of every file.
Guaranteed: nothing that is there is changed; what was made is a draft, and serves nobody, until its card says all and,
where it labels, it was judged; a version of the same model on the same weights begins with the heads it has, so that
whoever asks for one of them goes on being answered.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from aios.inference_workers.training import labels
from aios.inference_workers.weights import weights
from aios.infra.output import NOT_FOUND, USAGE, fail
from aios.streams import installed, model_files
from aios.streams.errors import ConfigError
from aios.streams.model_files import CARD, DATA, HEADS, UNSAID, Card

README = f"""\
# Data of {{reference}}

One folder a head: `<head>/{labels.FILE}`, with the columns text, label and split. A row without a label is a text that
belongs to none of them. split: train, validation or test; empty: chosen by a hash of the text.

Source and licence: {UNSAID}.
"""


@click.command()
@click.argument("name")
@click.option("--from", "source", required=True, metavar="NAME@VERSION", help="Whose card, labels and weights to take.")
@click.option(
    "--weights",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Other weights: a folder of safetensors, config.json and tokenizer.",
)
def new(name: str, source: str, folder: Path | None) -> None:
    """Make the next version of model NAME, or a new model. Files to fill; a draft, which serves nobody."""
    if not model_files.REFERENCE.fullmatch(f"{name}@1"):
        fail(f"{name[:64]!r}: a name is a-z, 0-9 and '-', and begins with a letter", USAGE)
    try:
        before = model_files.card(source)
    except ConfigError as error:
        fail(str(error), NOT_FOUND)
    try:
        for line in _made(name, before, folder):
            click.echo(line)
    except (ConfigError, OSError) as error:
        fail(str(error))


def _made(name: str, before: Card, folder: Path | None) -> Iterator[str]:
    """What was made, and what comes next. The card last: a version without it is none."""
    reference = model_files.following(name)
    place = model_files.folder(reference)
    read_with = before.weights
    if folder is not None:
        read_with = reference.replace("@", "-")
        yield f"{_weighed(place.parents[1], reference, read_with, folder)}: {read_with}, in {folder.resolve()}"
    if before.task == "classify":
        yield f"{_labelled(place, reference, before.model)}: its labels"
        if folder is None and name == before.model.partition("@")[0]:
            yield from _heads(place, before.model)
    card = place / CARD
    card.parent.mkdir(parents=True, exist_ok=True)
    said = yaml.safe_dump(_card(reference, before, read_with), sort_keys=False, width=110, allow_unicode=True)
    card.write_text(said, encoding="utf-8")
    yield f"{card}: a copy of {before.model}'s; say what is {UNSAID}"
    yield from _then(reference, before, read_with)


def _weighed(root: Path, reference: str, name: str, folder: Path) -> Path:
    """The file that has its weights now, under this name."""
    files = weights.listed(folder)
    if "config.json" not in files or not any(name.endswith(".safetensors") for name in files):
        raise ConfigError(f"{folder} has no config.json or no safetensors: an engine loads nothing from it")
    said = {
        "form": "folder",
        "path": str(folder.resolve()),
        "licence": f"as the card of {reference} says",
        "files": {name: weights.digest(path) for name, path in files.items()},
    }
    return weights.write(root, name, said)


def _labelled(place: Path, reference: str, before: str) -> Path:
    data = place / DATA
    data.mkdir(parents=True, exist_ok=True)
    (data / "README.md").write_text(README.format(reference=reference), encoding="utf-8")
    for head, path in labels.files(before).items():
        (data / head).mkdir(exist_ok=True)
        shutil.copyfile(path, data / head / labels.FILE)
    return data


def _heads(place: Path, before: str) -> Iterator[str]:
    path = model_files.folder(before) / HEADS
    if path.is_file():
        shutil.copyfile(path, place / HEADS)
        yield f"{place / HEADS}: {', '.join(model_files.heads(before))}, which stay where you have no labels of them"


def _card(reference: str, before: Card, read_with: str) -> dict[str, Any]:
    """What holds of it as of the one before, what follows from how it is made, and what only its makers know."""
    said = before.model_dump(mode="json", include={"task", "about", "licence", "intended_use", "not_for"})
    if before.weights != read_with:
        said["licence"] = UNSAID
    labelled = before.task == "classify"
    return {
        "model": reference,
        "task": said["task"],
        "weights": read_with,
        "about": said["about"],
        "made_of": {"from": before.model, "weights": read_with},
        "licence": said["licence"],
        "intended_use": said["intended_use"],
        "not_for": said["not_for"],
        "data": UNSAID,
        "how_it_was_judged": "each head on the split test of its labels" if labelled else UNSAID,
        "calibration": "one temperature a head, fitted on the split validation of its labels" if labelled else "",
        "limits": [UNSAID],
        "made_by": f"aios model train {reference}" if labelled else "",
    }


def _then(reference: str, before: Card, read_with: str) -> Iterator[str]:
    name = reference.partition("@")[0]
    if before.task == "classify":
        yield f"then: {DATA}/HEAD/{labels.FILE}, and aios model train {reference}"
    pools = [pool for pool in installed.pools().values() if pool.model == name]
    if not pools:
        yield f"then: pools that serve it, streams/pools/*.yaml with `model: {name}` and `weights: {read_with}`"
    elif any(pool.weights != read_with for pool in pools):
        files = ", ".join(f"{pool.pool}.yaml" for pool in pools)
        yield f"then: `weights: {read_with}` in {files}, when the card says all: it is the newest from then on"
    if before.task == "generate":
        yield f"then: aios prompt test PROMPT --model {reference} --record"
    if reference != f"{name}@1":
        yield f"before: activate the version that serves, where nobody has: else {reference} does as the newest"
