"""The two linear heads on MiniLM's embeddings: from a vector to a label, a confidence and an out-of-scope score.

In: embeddings of a text's chunks. Out: the fields of classification.v1. Guaranteed: numpy alone, no model
and no state, so that an answer can be recomputed from a stored vector. Confidence is calibrated: of the
texts answered with 0.9, nine of ten carry that label (the card says how well this held on unseen data).
The out-of-scope score says how likely the text belongs to none of the head's labels, were every second text a stray.

Long texts are cut into chunks of WORDS_MAX words, of which CHUNKS_MAX are read, without the runs of X that stand
for what a publisher redacted; how many words were not read the answer says. The text's vector is their mean,
normalised; each chunk weighs a third of the one before, because a letter says at its beginning what it is about
(measured by cross-validation on the training letters: the beginning alone is better than an even mean, both together
better still).

Rejected: chunks that overlap (the heads were trained, and their confidence calibrated, on chunks that do not); the
similarity to written descriptions of the labels (no calibration, no learning from decisions); one softmax with an
"other" class (its examples can never cover what belongs nowhere).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Vector: TypeAlias = npt.NDArray[np.float32]

WORDS_MAX = 100  # of one chunk: under MiniLM's 256 tokens for prose and for lists; the engine cuts what is over
CHUNKS_MAX = 3
CHUNK_WEIGHT = 1 / 3  # of a chunk, relative to the one before
REDACTED = re.compile(r"\bX{2,}(?:/X{2,}|/\d+)*\b")
SCORES_SHOWN = 3
DIGITS = 4  # of every number in an answer: engines differ in the seventh


def chunks(text: str) -> list[str]:
    """The pieces of a text that are embedded, 1..CHUNKS_MAX; an empty text is one empty piece."""
    words = REDACTED.sub("", text).split()
    starts = range(0, max(1, len(words)), WORDS_MAX)
    return [" ".join(words[start : start + WORDS_MAX]) for start in starts[:CHUNKS_MAX]]


def unread_words(text: str) -> int:
    """How many words stand behind the last piece that is read."""
    return max(0, len(REDACTED.sub("", text).split()) - CHUNKS_MAX * WORDS_MAX)


def pooled(vectors: Sequence[Sequence[float] | Vector] | Vector) -> Vector:
    """The text's vector: the weighted mean of its chunks', of length 1."""
    weights = CHUNK_WEIGHT ** np.arange(len(vectors), dtype=np.float64)
    total = weights @ np.asarray(vectors, dtype=np.float64)
    length = float(np.linalg.norm(total))
    return np.asarray(total / length if length else total, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Scope:
    """Logistic regression over signs(); its positive class is "belongs to none of the labels"."""

    weights: Vector
    bias: float


@dataclass(frozen=True, slots=True)
class Head:
    """One set of labels. weights: labels x dimensions; temperature: calibration, divides the logits.

    scope_weights, scope_bias: a direction in the space of vectors, whose positive side belongs to none of the labels.
    scope: what the score is made of; None: of the direction alone, by logistic regression.
    """

    labels: tuple[str, ...]
    weights: Vector
    bias: Vector
    temperature: float
    scope_weights: Vector
    scope_bias: float
    scope: Scope | None = None

    def logits(self, vectors: Vector) -> Vector:
        """N x labels, before calibration."""
        return np.asarray(vectors @ self.weights.T + self.bias, dtype=np.float32)

    def probabilities(self, vectors: Vector) -> Vector:
        """vectors: n x dimensions, each of length 1. Returns n x labels, each row sums to 1."""
        return self._probabilities(self.logits(vectors))

    def out_of_scope(self, vectors: Vector) -> Vector:
        """N scores, 0..1, that the text belongs to none of the labels."""
        return self._out_of_scope(vectors, self.logits(vectors))

    def _probabilities(self, logits: Vector) -> Vector:
        calibrated = logits / self.temperature
        powers = np.exp(calibrated - calibrated.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)

    def _out_of_scope(self, vectors: Vector, logits: Vector) -> Vector:
        away = vectors @ self.scope_weights + self.scope_bias
        if self.scope is not None:
            away = signs(logits, away) @ self.scope.weights + self.scope.bias
        return np.asarray(1 / (1 + np.exp(-away)), dtype=np.float32)

    def classify(self, vector: Vector) -> dict[str, Any]:
        """One vector → the fields of classification.v1."""
        row = vector[np.newaxis, :]
        logits = self.logits(row)
        probabilities = self._probabilities(logits)[0]
        best = np.argsort(-probabilities, kind="stable")[:SCORES_SHOWN]
        scores = {self.labels[i]: round(float(probabilities[i]), DIGITS) for i in best}
        label = self.labels[best[0]]
        return {
            "label": label,
            "confidence": scores[label],
            "out_of_scope": round(float(self._out_of_scope(row, logits)[0]), DIGITS),
            "scores": scores,
        }


def signs(logits: Vector, away: Vector) -> Vector:
    """What tells a text that belongs nowhere, n x 4: the direction, the logits' soft and hard maximum, the distance of
    the best from the second best.
    """
    best = np.sort(logits, axis=1)[:, -2:]
    soft = best[:, 1] + np.log(np.exp(logits - best[:, 1:]).sum(axis=1))
    return np.column_stack([away, soft, best[:, 1], best[:, 1] - best[:, 0]])


def save(path: Path, heads: Mapping[str, Head]) -> None:
    """Write heads as one compressed .npz, without pickled objects."""
    arrays: dict[str, Any] = {}
    for name, head in heads.items():
        arrays[f"{name}.labels"] = np.array(head.labels)
        arrays[f"{name}.weights"] = head.weights.astype(np.float16)
        arrays[f"{name}.bias"] = head.bias.astype(np.float32)
        arrays[f"{name}.temperature"] = np.float32(head.temperature)
        arrays[f"{name}.scope_weights"] = head.scope_weights.astype(np.float32)
        arrays[f"{name}.scope_bias"] = np.float32(head.scope_bias)
        if head.scope is not None:
            arrays[f"{name}.signs"] = np.append(head.scope.weights, head.scope.bias).astype(np.float32)
    np.savez_compressed(path, **arrays)


def load(path: Path) -> dict[str, Head]:
    """The heads of a file by name. Raises OSError or KeyError when it is not what save() wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        names = sorted({key.split(".")[0] for key in arrays.files})
        return {
            name: Head(
                labels=tuple(str(label) for label in arrays[f"{name}.labels"]),
                weights=arrays[f"{name}.weights"].astype(np.float32),
                bias=arrays[f"{name}.bias"].astype(np.float32),
                temperature=float(arrays[f"{name}.temperature"]),
                scope_weights=arrays[f"{name}.scope_weights"].astype(np.float32),
                scope_bias=float(arrays[f"{name}.scope_bias"]),
                scope=_scope(arrays, name),
            )
            for name in names
        }


def _scope(arrays: Mapping[str, Any], name: str) -> Scope | None:
    if f"{name}.signs" not in arrays:
        return None
    *weights, bias = arrays[f"{name}.signs"].tolist()
    return Scope(np.array(weights, np.float32), bias)
