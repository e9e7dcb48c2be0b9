"""What a head is made of, fitted: a linear model, a temperature, an out-of-scope score. Pure; scikit-learn inside.

In: vectors and labels. Out: the parts of classify.Head. Guaranteed: the same vectors give the same parts, bit for bit.

The out-of-scope score is a logistic regression of what a text's logits look like (how large, how far apart) and of a
direction in the space of vectors that leads away from what is known. What is fitted on texts that the encoder learned
from would trust it too much, so the regression sees, of what belongs, only texts that the encoder has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aios.inference_workers.classify import Head, Scope, Vector, signs
from aios.inference_workers.training.vectors import Texts

SEED = 1
SCOPE_C = 1.0  # inverse regularisation
SCOPE_FOLDS = 5
TEMPERATURES = np.geomspace(0.02, 5, 300)


@dataclass(frozen=True, slots=True)
class Linear:
    labels: Any
    weights: Vector
    bias: Vector

    def logits(self, vectors: Vector) -> Vector:
        return vectors @ self.weights.T + self.bias


def linear(texts: Texts, inverse: float, shares: Vector | None = None) -> Linear:
    """Logistic regression over all labels. inverse: of the regularisation. shares: weight of each text."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse, max_iter=5000)
    model.fit(texts.vectors, texts.labels, sample_weight=shares)
    if len(model.classes_) == 2:  # one row of weights, which is the second label's against the first
        nothing = np.zeros_like(model.coef_)
        return Linear(model.classes_, np.vstack([nothing, model.coef_]), np.append(0.0, model.intercept_))
    return Linear(model.classes_, model.coef_, model.intercept_)


def temperature(logits: Vector, labels: Any, known: Any, shares: Vector) -> float:
    """The divisor of logits with the least log loss on texts that took no part in fitting them."""
    truth: Any = np.searchsorted(known, labels)

    def loss(divisor: float) -> float:
        chances = softmax(logits / divisor)[np.arange(len(truth)), truth]
        return float(np.average(-np.log(np.maximum(chances, 1e-9)), weights=shares))

    return float(min(TEMPERATURES, key=loss))


def softmax(logits: Vector) -> Vector:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def direction(inside: Vector, outside: Vector) -> tuple[Vector, float]:
    """Weights and bias of what leads away from the inside; both sides count alike, however many there are."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=SCOPE_C, class_weight="balanced", max_iter=5000)
    model.fit(np.vstack([inside, outside]), np.repeat([0, 1], [len(inside), len(outside)]))
    return model.coef_[0], float(model.intercept_[0])


def scope(model: Linear, learned: Vector, unseen: Vector, outside: Vector) -> tuple[Vector, float, Scope]:
    """Direction, its bias, and the regression over all signs.

    learned: of the inside, what the encoder may have learned from: for the direction alone. unseen: of the inside, for
    the regression. outside: texts that belong to none of the labels; each is judged by a direction that did not see it.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    held = np.zeros(len(outside))
    for fitted, left in KFold(SCOPE_FOLDS, shuffle=True, random_state=SEED).split(outside):
        weights, bias = direction(learned, outside[fitted])
        held[left] = outside[left] @ weights + bias
    weights, bias = direction(learned, outside)
    seen = signs(model.logits(unseen), unseen @ weights + bias)
    strange = signs(model.logits(outside), held)
    both = np.vstack([seen, strange])
    middle, spread = both.mean(axis=0), both.std(axis=0)
    judge = LogisticRegression(C=SCOPE_C, class_weight="balanced", max_iter=5000)
    judge.fit((both - middle) / spread, np.repeat([0, 1], [len(seen), len(strange)]))
    slopes = judge.coef_[0] / spread
    return weights, bias, Scope(slopes.astype(np.float32), float(judge.intercept_[0] - slopes @ middle))


def head(model: Linear, divisor: float, parts: tuple[Vector, float, Scope | None]) -> Head:
    weights, bias, over_signs = parts
    return Head(tuple(map(str, model.labels)), model.weights, model.bias, divisor, weights, bias, over_signs)


def calibrated(model: Linear, learned: Texts, unseen: Texts, outside: Vector) -> Head:
    """The whole head. learned: as in scope(). unseen: texts with a label that took no part in fitting the model.
    outside: vectors of texts that belong to none of the labels.
    """
    logits = model.logits(unseen.vectors)
    divisor = temperature(logits, unseen.labels, model.labels, np.ones(len(unseen)))
    return head(model, divisor, scope(model, learned.vectors, unseen.vectors, outside))
