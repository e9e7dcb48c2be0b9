"""How a version of a model did, as people read it.

In: what `train` and `evaluate` have written beside its card (metrics.json). Out: a line a head and split, and the
thresholds that they were judged at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from aios.infra import output
from aios.streams import model_files

FIGURES = (
    *("split", "texts of", "n", "right", "decided", "of these right", "to a person"),
    *("calibration error", "by chance", "auroc"),
)
BY_CHANCE = (
    "calibration error: mean distance of confidence and accuracy over ten bins, of these n texts; by chance: up to "
    "what it is of an exact head, on so few. Up to there it says nothing, and may be another on another processor"
)


def show(metrics: Mapping[str, Any]) -> None:
    """A line a head and split."""
    lines = [
        {"split": split.replace("_", " "), "texts of": kind.replace("_", " "), **_percent(figures)}
        for split, kinds in metrics.items()
        if split not in {"policy", model_files.HEADS_JUDGED}
        for kind, figures in kinds.items()
    ]
    output.rows(lines, FIGURES, as_json=False, none="not evaluated yet: aios model evaluate")
    if any(line.get("by chance") for line in lines):
        click.echo(BY_CHANCE)
    thresholds = "; ".join(
        f"{head}: confidence ≥ {one['confidence_min']}, out of scope ≤ {one['out_of_scope_max']}"
        for head, one in metrics["policy"].items()
    )
    if thresholds:
        click.echo(f"at the thresholds {thresholds}")


def _percent(figures: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "accuracy": "right",
        "decided": "decided",
        "decided_right": "of these right",
        "to_a_person": "to a person",
    }
    shown: dict[str, Any] = {name: f"{figures[key]:.1%}" for key, name in names.items() if key in figures}
    if "calibration_error" in figures:
        shown["calibration error"] = f"{figures['calibration_error']:.3f}"
    if "calibration_by_chance" in figures:
        shown["by chance"] = f"{figures['calibration_by_chance']:.3f}"
    if "out_of_scope_auroc" in figures:
        shown["auroc"] = f"{figures['out_of_scope_auroc']:.3f}"
    return {"n": figures["texts"], **shown}
