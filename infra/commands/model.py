"""`aios model train|evaluate|card`: model versions, how good they are, and how they came about.

In: the repository's data, and the workers' environment for what computes. Out: heads and metrics beside the model's
card; a card as people read it. Needs no running system. `train` sees no text of the demo; `evaluate` judges what is
shipped, at the thresholds of the shipped workflow, on splits that training did not see.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from aios.infra import output
from aios.infra.output import NOT_FOUND, fail
from aios.processors import workflow_files

ROOT = Path(__file__).parents[2]
WORKERS_PYTHON = ROOT / ".venv-inference" / "bin" / "python"
MODELS = ROOT / "inference_workers" / "models"
WORKFLOW = workflow_files.FOLDER / "document.triage.yaml"
THRESHOLDS = ("confidence_min", "out_of_scope_max")


@click.group("model")
def group() -> None:
    """Model versions: train, evaluate, card."""


@group.command()
def train() -> None:
    """Train the triage encoder's heads on the repository's data.

    The first time takes some minutes: every text is embedded by the engine that serves. The same embeddings give
    the same heads; a changed head is a new model version for everybody who has decided with the old one.
    """
    _show(_run("train"))


@group.command()
def evaluate() -> None:
    """Judge the shipped heads on what training did not see. At the shipped thresholds."""
    _show(_run("evaluate"))


@group.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def card(name: str | None, as_json: bool) -> None:
    """The card of NAME@VERSION: data, quality, limits, licence. Without NAME: which models there are."""
    if name is None:
        output.rows(list(_known()), ("model", "task", "about"), as_json=as_json, none="no models")
        return
    stem, _, version = name.partition("@")
    path = MODELS / stem / version / "card.yaml"
    if not version.isdigit() or not path.is_file():
        fail(f"there is no model {name}; there are {', '.join(one['model'] for one in _known())}", NOT_FOUND)
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    metrics = path.with_name("metrics.json")
    if metrics.is_file():
        found["metrics"] = json.loads(metrics.read_text(encoding="utf-8"))
    if as_json:
        output.one(found, as_json=True)
        return
    click.echo(yaml.safe_dump({k: v for k, v in found.items() if k != "metrics"}, sort_keys=False, width=100).rstrip())
    if "metrics" in found:
        click.echo()
        _show(found["metrics"])


def policy() -> dict[str, dict[str, float]]:
    """The shipped workflow's thresholds, by head."""
    channels = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["policy"]
    return {one["head"]: {name: one[name] for name in THRESHOLDS} for one in channels.values()}


def _known() -> Iterator[dict[str, Any]]:
    for path in sorted(MODELS.glob("*/*/card.yaml")):
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield {"model": found["model"], "task": found["task"], "about": found["about"]}


def _run(verb: str) -> dict[str, Any]:
    """Spawn the trainer where its libraries are; what it says of its progress goes to the terminal."""
    if not WORKERS_PYTHON.exists():
        fail("the workers' environment .venv-inference is not there: run `make setup`")
    done = subprocess.run(
        [WORKERS_PYTHON, "-m", "aios.inference_workers.train", verb, json.dumps(policy())],
        cwd=ROOT,
        env=os.environ | {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        fail(f"{verb} ended with status {done.returncode}; its last words stand above")
    metrics: dict[str, Any] = json.loads(done.stdout)
    return metrics


def _show(metrics: Mapping[str, Any]) -> None:
    """A line a head and split."""
    lines = [
        {"split": split.replace("_", " "), "texts of": kind.replace("_", " "), **_percent(figures)}
        for split, kinds in metrics.items()
        if split != "policy"
        for kind, figures in kinds.items()
    ]
    columns = ("split", "texts of", "n", "right", "decided", "of these right", "to a person", "calibration error")
    output.rows(lines, columns, as_json=False, none="not evaluated yet: aios model evaluate")
    thresholds = "; ".join(
        f"{head}: confidence ≥ {one['confidence_min']}, out of scope ≤ {one['out_of_scope_max']}"
        for head, one in metrics["policy"].items()
    )
    click.echo(f"at the thresholds {thresholds}")


def _percent(figures: Mapping[str, float]) -> dict[str, Any]:
    names = {
        "accuracy": "right",
        "decided": "decided",
        "decided_right": "of these right",
        "to_a_person": "to a person",
    }
    shown: dict[str, Any] = {name: f"{figures[key]:.1%}" for key, name in names.items() if key in figures}
    if "calibration_error" in figures:
        shown["calibration error"] = f"{figures['calibration_error']:.3f}"
    return {"n": figures["texts"], **shown}
