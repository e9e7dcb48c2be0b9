"""Trains the triage encoder's two heads and judges them. Runs in the workers' environment.

In: models/triage-encoder/1/data/, and for judging infra/demo/data/. Out: heads.npz, metrics.json beside it.
Guaranteed: the same embeddings give the same heads, bit for bit; what a head is judged on took no part in fitting,
calibrating or choosing thresholds; the demo's texts are read by `evaluate` alone.

letters   logistic regression on 140 letters and on short descriptions of each label; no letter is to spare for
          validation, so temperature and threshold come from cross-validation in which mass letters that differ in
          a name stay in one fold, and count together as one letter
messages  77 linear support vector machines, one against all others, on BANKING77; temperature and threshold come from
          cross-validation too, so that the final head learns from all of it but the test split
both      temperature by least log loss; the out-of-scope score by logistic regression against CLINC150's questions
          that no bank would answer, for letters also strung together to the length of a letter

Embeddings come from the engine that serves, and are cached by text under .cache/, so that only a first training
takes its time. Rejected: fine-tuning the encoder (one embedding pool serves every head; 140 letters are no corpus).

    python -m aios.inference_workers.train train | evaluate '{"letters": {"confidence_min": 0.6, ...}, ...}'
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aios.inference_workers import convert, splits
from aios.inference_workers.classify import Head, Vector, chunks, load, pooled, save
from aios.inference_workers.engine import Embed, Runner
from aios.inference_workers.tasks import CLASSIFIER, heads_of
from aios.inference_workers.vllm_engine import VllmEngine
from aios.streams.config import InferenceSettings

KINDS = ("letters", "letter_terms", "messages", "strays")
ENCODER = "all-minilm-l6-v2"
CACHE = convert.CACHE.parent / "embeddings"
IN_FLIGHT_MAX = 256
SEED = 1
LETTER_C, MESSAGE_C, SCOPE_C = 3.0, 1.0, 1.0  # inverse regularisation, by cross-validation
DESCRIPTION_WEIGHT = 0.4  # of a description, a letter being 1
FOLDS, REPEATS = 10, 5  # of the letters
MESSAGE_FOLDS = 5
LONG_STRAYS = 600
LONG_STRAY_PARTS = (5, 25)  # short ones strung together, at least and at most
TEMPERATURES = np.geomspace(0.05, 5, 200)
BINS = 10  # of the calibration error


@dataclass(frozen=True, slots=True)
class Texts:
    """n texts of one split. labels: empty strings for strays."""

    vectors: Vector
    labels: Any

    def __len__(self) -> int:
        return len(self.labels)


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────


def rows(kind: str, split: str) -> list[splits.Row]:
    """Of one of KINDS; the demo's split lies in infra/demo/data."""
    folder = splits.DEMO if split == "demo" else splits.TRAINING
    return [row for row in splits.read(folder / f"{kind}.csv") if row.get("split", split) == split]


def long_strays(short: Sequence[str], count: int, seed: int) -> list[str]:
    """Texts of a letter's length that belong nowhere: short ones strung together, the same on every run."""
    chance = np.random.default_rng(seed)
    lengths = chance.integers(*LONG_STRAY_PARTS, size=count)
    return [". ".join(short[i] for i in chance.integers(len(short), size=length)) for length in lengths]


class Embeddings:
    """Text → vector, through the serving engine, cached by the text's hash."""

    def __init__(self) -> None:
        digest = hashlib.sha256(json.dumps(convert.made_from(ENCODER)).encode()).hexdigest()[:16]
        self._path = CACHE / f"{ENCODER}-{digest}.npz"
        self._known: dict[str, Vector] = {}
        if self._path.is_file():
            with np.load(self._path, allow_pickle=False) as arrays:
                self._known = dict(zip(arrays["hashes"].tolist(), arrays["vectors"], strict=True))

    def fetch(self, texts: Iterable[str]) -> None:
        """Ask the engine, started once, for what is not cached yet."""
        missing = sorted({piece for text in texts for piece in chunks(text) if _hash(piece) not in self._known})
        if missing:
            print(f"embedding {len(missing)} texts", file=sys.stderr)
            found = asyncio.run(_embed(missing))
            self._known |= {_hash(piece): vector for piece, vector in zip(missing, found, strict=True)}
            self._save()

    def of(self, texts: Sequence[str], labels: Iterable[str]) -> Texts:
        self.fetch(texts)
        cut = [chunks(text) for text in texts]
        vectors = [pooled(np.array([self._known[_hash(piece)] for piece in pieces])) for pieces in cut]
        return Texts(np.array(vectors, dtype=np.float32), np.array(list(labels)))

    def split(self, kind: str, split: str) -> Texts:
        found = rows(kind, split)
        return self.of([row["text"] for row in found], [row.get("label", "") for row in found])

    def _save(self) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part.npz")
        np.savez(part, hashes=np.array(list(self._known)), vectors=np.array(list(self._known.values())))
        part.rename(self._path)


async def _embed(texts: Sequence[str]) -> Vector:
    engine = VllmEngine(convert.folder(ENCODER), Runner.EMBED, InferenceSettings())
    await engine.start()
    room = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def one(text: str) -> Sequence[float]:
        async with room:
            return (await engine.embed(Embed(text=text))).vector

    try:
        return np.array(await asyncio.gather(*map(one, texts)), dtype=np.float32)
    finally:
        await engine.close()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ── fitting ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Linear:
    labels: Any
    weights: Vector
    bias: Vector

    def logits(self, vectors: Vector) -> Vector:
        return vectors @ self.weights.T + self.bias


def fit_letters(letters: Texts, shares: Vector, descriptions: Texts) -> Linear:
    """shares: weight of each letter; mass letters share one."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=LETTER_C, max_iter=5000)
    model.fit(
        np.vstack([letters.vectors, descriptions.vectors]),
        np.concatenate([letters.labels, descriptions.labels]),
        sample_weight=np.concatenate([np.sqrt(shares), np.full(len(descriptions), DESCRIPTION_WEIGHT)]),
    )
    return Linear(model.classes_, model.coef_, model.intercept_)


def fit_messages(messages: Texts) -> Linear:
    from sklearn.svm import LinearSVC

    model = LinearSVC(C=MESSAGE_C, dual=False, max_iter=5000).fit(messages.vectors, messages.labels)
    return Linear(model.classes_, model.coef_, model.intercept_)


def fit_scope(inside: Vector, outside: Vector) -> tuple[Vector, float]:
    """Weights and bias of the out-of-scope score; both sides count alike, however many there are."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=SCOPE_C, class_weight="balanced", max_iter=5000)
    model.fit(np.vstack([inside, outside]), np.repeat([0, 1], [len(inside), len(outside)]))
    return model.coef_[0], float(model.intercept_[0])


def fit_temperature(logits: Vector, labels: Any, known: Any, shares: Vector) -> float:
    """The divisor of logits with the least log loss on texts that took no part in fitting them."""
    truth: Any = np.searchsorted(known, labels)

    def loss(temperature: float) -> float:
        chances = softmax(logits / temperature)[np.arange(len(truth)), truth]
        return float(np.average(-np.log(np.maximum(chances, 1e-9)), weights=shares))

    return float(min(TEMPERATURES, key=loss))


def softmax(logits: Vector) -> Vector:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def mass_letters(texts: Sequence[str]) -> Any:
    """The group of each letter: those that are near twins, of each other or of a third, share one."""
    cut = [splits.shingles(text) for text in texts]
    group = list(range(len(texts)))
    for i, left in enumerate(cut):
        for j in range(i):
            if group[i] != group[j] and splits.alike(left, cut[j]):
                group = [group[j] if one == group[i] else one for one in group]
    return np.array(group)


def folds(letters: Texts, groups: Any) -> Iterator[tuple[Any, Any]]:
    """(indices to fit, indices held out), over REPEATS different ways to cut."""
    from sklearn.model_selection import StratifiedGroupKFold

    for repeat in range(REPEATS):
        cut = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED + repeat)
        yield from cut.split(letters.vectors, letters.labels, groups)


def train() -> dict[str, Judged]:
    """Fit both heads and write them. Returns how they did by cross-validation."""
    embeddings = Embeddings()
    strays = [row["text"] for row in rows("strays", "train")]
    strung = long_strays(strays, LONG_STRAYS, SEED)
    everything = [row["text"] for kind in KINDS for row in splits.read(splits.TRAINING / f"{kind}.csv")]
    embeddings.fetch([*everything, *strung])
    short = embeddings.of(strays, [""] * len(strays))
    long = embeddings.of(strung, [""] * LONG_STRAYS)
    letters, letters_judged = _train_letters(embeddings, np.vstack([long.vectors, short.vectors[:LONG_STRAYS]]))
    messages, messages_judged = _train_messages(embeddings, short.vectors)
    save(heads_of(CLASSIFIER), {"letters": letters, "messages": messages})
    return {"letters": letters_judged, "messages": messages_judged}


def _train_letters(embeddings: Embeddings, outside: Vector) -> tuple[Head, Judged]:
    letters, descriptions = embeddings.split("letters", "train"), embeddings.split("letter_terms", "train")
    groups = mass_letters([row["text"] for row in rows("letters", "train")])
    sizes = Counter(groups.tolist())
    shares = np.array([1 / sizes[group] for group in groups.tolist()])
    known = np.unique(descriptions.labels)
    order, logits, scopes = [], [], []
    for fitted, held in folds(letters, groups):
        kept = Texts(letters.vectors[fitted], letters.labels[fitted])
        order.append(held)
        logits.append(fit_letters(kept, shares[fitted], descriptions).logits(letters.vectors[held]))
        weights, bias = fit_scope(kept.vectors, outside)
        scopes.append(1 / (1 + np.exp(-(letters.vectors[held] @ weights + bias))))
    indices, stacked = np.concatenate(order), np.vstack(logits)
    temperature = fit_temperature(stacked, letters.labels[indices], known, shares[indices])
    judged = Judged.of(
        stacked / temperature, known, letters.labels[indices], np.concatenate(scopes), shares[indices] / REPEATS
    )
    scope = fit_scope(letters.vectors, outside)
    return _head(fit_letters(letters, shares, descriptions), temperature, scope), judged


def _train_messages(embeddings: Embeddings, outside: Vector) -> tuple[Head, Judged]:
    from sklearn.model_selection import StratifiedKFold

    parts = [embeddings.split("messages", split) for split in ("train", "validation")]
    messages = Texts(np.vstack([part.vectors for part in parts]), np.concatenate([part.labels for part in parts]))
    known = np.unique(messages.labels)
    logits, scopes = np.zeros((len(messages), len(known))), np.zeros(len(messages))
    cut = StratifiedKFold(MESSAGE_FOLDS, shuffle=True, random_state=SEED)
    for fitted, held in cut.split(messages.vectors, messages.labels):
        kept = Texts(messages.vectors[fitted], messages.labels[fitted])
        logits[held] = fit_messages(kept).logits(messages.vectors[held])
        weights, bias = fit_scope(kept.vectors, outside)
        scopes[held] = 1 / (1 + np.exp(-(messages.vectors[held] @ weights + bias)))
    ones = np.ones(len(messages))
    temperature = fit_temperature(logits, messages.labels, known, ones)
    judged = Judged.of(logits / temperature, known, messages.labels, scopes, ones)
    return _head(fit_messages(messages), temperature, fit_scope(messages.vectors, outside)), judged


def _head(model: Linear, temperature: float, scope: tuple[Vector, float]) -> Head:
    return Head(tuple(map(str, model.labels)), model.weights, model.bias, temperature, *scope)


# ── judging ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers beside the truth. shares: how much each text counts."""

    right: Any
    confidence: Any
    out_of_scope: Any
    shares: Any

    @classmethod
    def of(cls, logits: Vector, known: Any, labels: Any, scopes: Vector, shares: Vector) -> Judged:
        chances = softmax(logits)
        return cls(known[chances.argmax(axis=1)] == labels, chances.max(axis=1), scopes, shares)

    @classmethod
    def by(cls, head: Head, texts: Texts) -> Judged:
        chances = head.probabilities(texts.vectors)
        right = np.array(head.labels)[chances.argmax(axis=1)] == texts.labels
        return cls(right, chances.max(axis=1), head.out_of_scope(texts.vectors), np.ones(len(texts)))

    def report(self, confidence_min: float, out_of_scope_max: float) -> dict[str, float]:
        """texts: how many; accuracy: of all; decided: share without a person; decided_right: of those.

        calibration_error: mean distance of confidence and accuracy over BINS equal bins (ECE).
        """
        decided = (self.confidence >= confidence_min) & (self.out_of_scope <= out_of_scope_max)
        return {
            "texts": round(float(self.shares.sum())),
            "accuracy": _mean(self.right, self.shares),
            "decided": _mean(decided, self.shares),
            "decided_right": _mean(self.right[decided], self.shares[decided]),
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
    return {"texts": len(strays), "to_a_person": _mean(~decided, np.ones(len(strays)))}


def _mean(values: Any, shares: Any) -> float:
    return round(float(np.average(values, weights=shares)), 4) if len(values) else 0.0


def evaluate(policy: Mapping[str, Mapping[str, float]], split: str) -> dict[str, Any]:
    """Both heads on a split of messages and strays, and on the demo's letters when it is the demo."""
    embeddings, heads = Embeddings(), load(heads_of(CLASSIFIER))
    strays = embeddings.split("strays", split)
    long = long_strays([row["text"] for row in rows("strays", split)], len(strays), SEED)
    kinds = ("messages", "strays", "letters") if split == "demo" else ("messages", "strays")
    embeddings.fetch([*long, *(row["text"] for kind in kinds for row in rows(kind, split))])
    report: dict[str, Any] = {
        "messages": Judged.by(heads["messages"], embeddings.split("messages", split)).report(**policy["messages"]),
        "strays": caught(heads["messages"], strays, **policy["messages"]),
        "strays_as_letters": caught(heads["letters"], embeddings.of(long, [""] * len(long)), **policy["letters"]),
    }
    if split == "demo":
        report["letters"] = Judged.by(heads["letters"], embeddings.split("letters", split)).report(**policy["letters"])
    return report


def main(verb: str, policy: Mapping[str, Mapping[str, float]]) -> None:
    metrics_file = heads_of(CLASSIFIER).with_name("metrics.json")
    metrics: dict[str, Any] = json.loads(metrics_file.read_text()) if metrics_file.is_file() else {}
    if verb == "train":
        judged = {name: one.report(**policy[name]) for name, one in train().items()}
        metrics = {"policy": policy, "cross_validation": judged}
    else:
        metrics |= {"policy": policy, "test": evaluate(policy, "test"), "demo": evaluate(policy, "demo")}
    metrics_file.write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(metrics))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
