"""Heads on a team's own labels (labels.py), on weights as they are: fitted, judged. Runs in the workers' environment.

In: a version's labels, and its texts as vectors of the engine that serves. Out: heads, and figures. Guaranteed: the
same vectors give the same heads, bit for bit; what a head is judged on, the split test, took no part in fitting (train)
nor in calibrating (validation); all labels are read before the engine starts, so that a mistake costs no minutes.

Each head is a logistic regression, its temperature that of the least log loss, and its out-of-scope score a regression
against the rows without a label (fitting.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aios.inference_workers.classify import Head
from aios.inference_workers.training import fitting, labels
from aios.inference_workers.training.judged import Judged, auroc
from aios.inference_workers.training.labels import Row
from aios.inference_workers.training.vectors import Embeddings, Texts
from aios.streams import model_files

C = 10.0  # inverse regularisation, as measured for messages and intents of the encoder that ships (train.py)
NO_POLICY = {"confidence_min": 0.5, "out_of_scope_max": 0.5}  # of a head that no shipped workflow asks


class Labelled:
    """Every head of a version that has labels, as vectors."""

    def __init__(self, model: str) -> None:
        self._rows = {head: labels.read(path) for head, path in labels.files(model).items()}
        self._embeddings = Embeddings(model_files.card(model).weights)
        self._embeddings.fetch(row.text for rows in self._rows.values() for row in rows)

    def train(self) -> dict[str, Head]:
        """By name."""
        return {head: self._fitted(head) for head in self._rows}

    def evaluate(self, heads: Mapping[str, Head], policy: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Figures of each on the split test. policy: thresholds by head."""
        return {head: self._judged(head, heads[head], policy.get(head, NO_POLICY)) for head in self._rows}

    def _fitted(self, head: str) -> Head:
        learned, unseen = self._of(head, "train"), self._of(head, "validation")
        outside = self._vectors(row for row in self._rows[head] if not row.label and row.split != "test")
        return fitting.calibrated(fitting.linear(learned, C), learned, unseen, outside.vectors)

    def _judged(self, head: str, fitted: Head, thresholds: Mapping[str, float]) -> dict[str, Any]:
        judged = Judged.by(fitted, self._of(head, "test"))
        strays = self._vectors(row for row in self._rows[head] if not row.label and row.split == "test")
        report = judged.report(**thresholds)
        if len(strays):
            report["out_of_scope_auroc"] = auroc(judged.out_of_scope, fitted.out_of_scope(strays.vectors))
        return report

    def _of(self, head: str, split: str) -> Texts:
        return self._vectors(row for row in self._rows[head] if row.split == split and row.label)

    def _vectors(self, rows: Iterable[Row]) -> Texts:
        chosen = list(rows)
        return self._embeddings.of([row.text for row in chosen], [row.label for row in chosen])
