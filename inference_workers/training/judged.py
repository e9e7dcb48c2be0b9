"""How answers of a head compare with the truth: accuracy, what is decided without a person, calibration, strays.

In: probabilities, out-of-scope scores and labels. Out: figures for cards. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aios.inference_workers.classify import Head, Vector

if TYPE_CHECKING:
    from aios.inference_workers.training.vectors import Texts

BINS = 10  # of the calibration error


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers beside the truth. shares: how much each text counts."""

    right: Any
    confidence: Any
    out_of_scope: Any
    shares: Any

    @classmethod
    def of(cls, chances: Vector, known: Any, labels: Any, scopes: Vector, shares: Vector) -> Judged:
        return cls(known[chances.argmax(axis=1)] == labels, chances.max(axis=1), scopes, shares)

    @classmethod
    def by(cls, head: Head, texts: Texts) -> Judged:
        chances = head.probabilities(texts.vectors)
        scopes = head.out_of_scope(texts.vectors)
        return cls.of(chances, np.array(head.labels), texts.labels, scopes, np.ones(len(texts)))

    def __add__(self, other: Judged) -> Judged:
        return Judged(
            np.concatenate([self.right, other.right]),
            np.concatenate([self.confidence, other.confidence]),
            np.concatenate([self.out_of_scope, other.out_of_scope]),
            np.concatenate([self.shares, other.shares]),
        )

    def report(self, confidence_min: float, out_of_scope_max: float) -> dict[str, float]:
        """texts: how many; accuracy: of all; decided: share without a person; decided_right: of those.

        calibration_error: mean distance of confidence and accuracy over BINS equal bins (ECE).
        """
        decided = (self.confidence >= confidence_min) & (self.out_of_scope <= out_of_scope_max)
        return {
            "texts": round(float(self.shares.sum())),
            "accuracy": mean(self.right, self.shares),
            "decided": mean(decided, self.shares),
            "decided_right": mean(self.right[decided], self.shares[decided]),
            "calibration_error": self.calibration_error(),
        }

    def calibration_error(self) -> float:
        bins = np.minimum((self.confidence * BINS).astype(int), BINS - 1)
        error = 0.0
        for one in range(BINS):
            shares = self.shares * (bins == one)
            if shares.sum():
                distance = np.average(self.confidence, weights=shares) - np.average(self.right, weights=shares)
                error += abs(distance) * shares.sum() / self.shares.sum()
        return round(float(error), 4)


def caught(head: Head, strays: Texts, confidence_min: float, out_of_scope_max: float) -> dict[str, float]:
    """Strays that go to a person."""
    decided = (head.probabilities(strays.vectors).max(axis=1) >= confidence_min) & (
        head.out_of_scope(strays.vectors) <= out_of_scope_max
    )
    return {"texts": len(strays), "to_a_person": mean(~decided, np.ones(len(strays)))}


def auroc(inside: Any, outside: Any) -> float:
    """Chance that a text from outside scores above one from inside; equal scores count half. Neither is empty."""
    ordered = np.sort(inside)
    below, upto = np.searchsorted(ordered, outside, "left"), np.searchsorted(ordered, outside, "right")
    return round(float((below + upto).mean() / 2 / len(inside)), 4)


def mean(values: Any, shares: Any) -> float:
    return round(float(np.average(values, weights=shares)), 4) if len(values) else 0.0
