"""How answers of a head compare with the truth: accuracy, what is decided without a person, calibration, strays.

In: probabilities, out-of-scope scores and labels. Out: figures for cards. Pure.

The calibration error of few texts says little: of the demo's 80 letters one whose confidence is 0.799 or 0.801, by the
number format of the processor that computed it, makes it 0.053 or 0.034. So figures say beside it how large chance
alone makes it of a head that is calibrated exactly (0.101): up to there, one error is as good as another.
Rejected: other bins (of the same number of texts, or overlapping): cards could not be compared with those of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aios.inference_workers.classify import Head, Vector

if TYPE_CHECKING:
    from aios.inference_workers.training.vectors import Texts

BINS = 10  # of the calibration error
DRAWS = 1_000  # of right and wrong answers, for what chance makes of it
CHANCE = 0.95  # of the draws, that stay below what is said
SEED = 20_261_129


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

    def report(self, confidence_min: float, out_of_scope_max: float) -> dict[str, Any]:
        """texts: how many; accuracy: of all; decided: share without a person; decided_right: of those.

        calibration_error: mean distance of confidence and accuracy over BINS equal bins (ECE). calibration_by_chance:
        up to what it is that of an exact head, where each text counts once.
        """
        decided = (self.confidence >= confidence_min) & (self.out_of_scope <= out_of_scope_max)
        chance = {"calibration_by_chance": self.calibration_by_chance()} if (self.shares == 1).all() else {}
        return chance | {
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

    def calibration_by_chance(self) -> float:
        """The calibration error that a head which is right exactly as often as it is sure stays below, on as many texts
        of these confidences, in CHANCE of all draws. The same on every run.
        """
        bins = np.minimum((self.confidence * BINS).astype(int), BINS - 1)
        right = np.random.default_rng(SEED).random((DRAWS, len(bins))) < self.confidence
        apart = np.abs((self.confidence - right) @ np.eye(BINS)[bins]).sum(axis=1) / max(len(bins), 1)
        return round(float(np.quantile(apart, CHANCE)), 4)


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
