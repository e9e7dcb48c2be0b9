"""Trains the heads of a version and judges them. Runs in the workers' environment.

In: a version's own labels (own_heads.py), or models/triage-encoder/*/data/, and for judging infra/demo/data/. Out:
heads.npz, metrics.json beside the card; heads of which there are no labels stay as the version began with them.
Guaranteed: the same embeddings give the same heads, bit for bit; what a head is judged on took no part in fitting,
calibrating or choosing thresholds; the demo's texts are read by `evaluate` alone. Of the encoder's own learning, see
tune.py: it has read the training splits, and of messages the validation split too, so nothing there is judged.

What ships, and is trained here:

letters   logistic regression on 140 letters and on short descriptions of each label; no letter is to spare for
          validation, so temperature and threshold come from cross-validation in which mass letters that differ in
          a name stay in one fold, and count together as one letter
messages  77 intents of BANKING77, by logistic regression on all that the encoder has read of them; temperature and
          out-of-scope score come from the test split, which is judged by halves, each with what was fitted on the other
intents   150 intents of CLINC150, likewise; temperature and out-of-scope score from its validation split
all       temperature by least log loss; the out-of-scope score by logistic regression (fitting.py) against CLINC150's
          questions that nobody asks a bank (for intents: that belong to no intent), for letters strung together too

Rejected: the prototypes that the encoder was tuned towards (0.955 of CLINC150's intents right, regression 0.967),
support vector machines (0.929 of BANKING77's, regression 0.927, and no probabilities), words beside the embedding.

    python -m aios.inference_workers.training.train train | evaluate NAME@VERSION '{"letters": {"confidence_min": 0.6}}'
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aios.inference_workers.classify import Head, Vector, load, save
from aios.inference_workers.tasks import heads_of
from aios.inference_workers.training import fitting, labels, splits, unseen
from aios.inference_workers.training.judged import Judged, auroc, caught
from aios.inference_workers.training.own_heads import NO_POLICY, Labelled
from aios.inference_workers.training.vectors import Embeddings, Texts
from aios.streams import model_files
from aios.streams.errors import AiosError

SEED = fitting.SEED
LETTER_C = 3.0  # inverse regularisation, by cross-validation
INTENT_C = 10.0  # the same, of messages and intents
LEARNED_MAX = 1_500  # texts that the encoder has learned from, for the direction of the out-of-scope score
STRAYS_MAX = 1_000  # of those that train
DESCRIPTION_WEIGHT = 0.4  # of a description, a letter being 1
FOLDS, REPEATS = 10, 5  # of the letters
LONG_STRAYS = 200
LONG_STRAY_PARTS = (5, 25)  # short ones strung together, at least and at most
JUDGED = {"test": ("messages", "intents"), "demo": ("letters", "messages")}  # by split


def rows(kind: str, split: str) -> list[splits.Row]:
    """Texts of a kind; the demo's split lies in infra/demo/data."""
    if split == "demo":
        folder = splits.DEMO
    else:
        folder = splits.TUNING if kind in ("intents", "letter_parts") else splits.TRAINING
    return [row for row in splits.read(folder / f"{kind}.csv") if row.get("split", split) == split]


def long_strays(short: Sequence[str], count: int, seed: int) -> list[str]:
    """Texts of a letter's length that belong nowhere: short ones strung together, the same on every run."""
    chance = np.random.default_rng(seed)
    lengths = chance.integers(*LONG_STRAY_PARTS, size=count)
    return [". ".join(short[i] for i in chance.integers(len(short), size=length)) for length in lengths]


class Data:
    """The splits as vectors of one encoder."""

    def __init__(self, weights: str) -> None:
        self._embeddings = Embeddings(weights)

    def fetch_training(self) -> None:
        """Everything at once, so that the engine starts once."""
        parts = [("letters", "train"), ("letter_terms", "train"), ("letter_parts", "train"), ("strays", "test")]
        parts += [("messages", split) for split in ("train", "validation", "test")]
        parts += [("intents", split) for split in ("train", "validation", "test")]
        parts += [("strays", "validation")]
        texts = [row["text"] for kind, split in parts for row in rows(kind, split)]
        texts += [row["text"] for row in rows("strays", "train")[:STRAYS_MAX]]
        self._embeddings.fetch([*texts, *self.strung()])

    def of(self, kind: str, split: str, most: int | None = None) -> Texts:
        """All of a split, or its first: rows stand in the order of a hash."""
        found = rows(kind, split)[:most]
        return self._embeddings.of([row["text"] for row in found], [row.get("label", "") for row in found])

    def strung(self) -> list[str]:
        return long_strays([row["text"] for row in rows("strays", "train")], LONG_STRAYS, SEED)

    def long_strays(self, split: str) -> Texts:
        short = [row["text"] for row in rows("strays", split)]
        texts = self.strung() if split == "train" else long_strays(short, len(short), SEED)
        return self._embeddings.of(texts, [""] * len(texts))

    def nowhere(self, *parts: str) -> Texts:
        """Strays that belong to no intent of CLINC150 either."""
        intents = {row["text"] for row in rows("intents", "train")}
        found = [row["text"] for split in parts for row in rows("strays", split)]
        texts = [text for text in found if text not in intents]
        return self._embeddings.of(texts, [""] * len(texts))


# ── the three heads ──────────────────────────────────────────────────────────────────────────────────


def letters(data: Data) -> tuple[Head, Judged]:
    """The head, and how it does by cross-validation."""
    texts, described = data.of("letters", "train"), data.of("letter_terms", "train")
    parts = data.of("letter_parts", "train")
    described = described + parts.part(parts.labels != "")
    outside = np.vstack([data.long_strays("train").vectors, data.of("strays", "train", LONG_STRAYS).vectors])
    groups = mass_letters([row["text"] for row in rows("letters", "train")])
    sizes = Counter(groups.tolist())
    shares = np.array([1 / sizes[group] for group in groups.tolist()])
    known = np.unique(described.labels)
    order, logits, scopes = [], [], []
    for fitted, held in folds(texts, groups):
        order.append(held)
        logits.append(_letters(texts.part(fitted), shares[fitted], described).logits(texts.vectors[held]))
        weights, bias = fitting.direction(texts.vectors[fitted], outside)
        scopes.append(1 / (1 + np.exp(-(texts.vectors[held] @ weights + bias))))
    indices, stacked = np.concatenate(order), np.vstack(logits)
    divisor = fitting.temperature(stacked, texts.labels[indices], known, shares[indices])
    chances = fitting.softmax(stacked / divisor)
    judged = Judged.of(chances, known, texts.labels[indices], np.concatenate(scopes), shares[indices] / REPEATS)
    scope = (*fitting.direction(texts.vectors, outside), None)
    return fitting.head(_letters(texts, shares, described), divisor, scope), judged


def _letters(texts: Texts, shares: Vector, described: Texts) -> fitting.Linear:
    weights = np.concatenate([np.sqrt(shares), np.full(len(described), DESCRIPTION_WEIGHT)])
    return fitting.linear(texts + described, LETTER_C, weights)


def messages(data: Data) -> tuple[Head, Judged]:
    """The head, and how it does on each half of the test split with what was fitted on the other."""
    learned, unseen = data.of("messages", "train", LEARNED_MAX), data.of("messages", "test")
    outside = data.of("strays", "train", STRAYS_MAX).vectors
    read = data.of("messages", "train") + data.of("messages", "validation")
    model = fitting.linear(read, INTENT_C)
    halves = (np.arange(len(unseen)) % 2 == 0, np.arange(len(unseen)) % 2 == 1)
    judged = [
        Judged.by(fitting.calibrated(model, learned, unseen.part(one), outside), unseen.part(other))
        for one, other in (halves, halves[::-1])
    ]
    return fitting.calibrated(model, learned, unseen, outside), judged[0] + judged[1]


def intents(data: Data) -> Head:
    learned, unseen = data.of("intents", "train", LEARNED_MAX), data.of("intents", "validation")
    outside = data.nowhere("train", "validation").vectors
    return fitting.calibrated(fitting.linear(data.of("intents", "train"), INTENT_C), learned, unseen, outside)


def mass_letters(texts: Sequence[str]) -> Any:
    """The group of each letter: those that are near twins, of each other or of a third, share one."""
    cut = [splits.shingles(text) for text in texts]
    group = list(range(len(texts)))
    for i, left in enumerate(cut):
        for j in range(i):
            if group[i] != group[j] and splits.alike(left, cut[j]):
                group = [group[j] if one == group[i] else one for one in group]
    return np.array(group)


def folds(texts: Texts, groups: Any) -> Iterator[tuple[Any, Any]]:
    """(indices to fit, indices held out), over REPEATS different ways to cut."""
    from sklearn.model_selection import StratifiedGroupKFold

    for repeat in range(REPEATS):
        cut = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED + repeat)
        yield from cut.split(texts.vectors, texts.labels, groups)


# ── train, evaluate ──────────────────────────────────────────────────────────────────────────────────


def _train_shipped(name: str, policy: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Fit the heads and write them. Returns how they did on what they can be judged with here."""
    data = Data(model_files.card(name).weights)
    data.fetch_training()
    letter_head, letters_judged = letters(data)
    message_head, messages_judged = messages(data)
    save(heads_of(name), {"letters": letter_head, "messages": message_head, "intents": intents(data)})
    judged = {"letters": letters_judged, "messages": messages_judged}
    return {"cross_validation": {kind: one.report(**policy[kind]) for kind, one in judged.items()}}


def _train_own(name: str, own: Labelled, policy: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Its heads beside those that it began with. Returns figures of those that were trained."""
    path, heads = heads_of(name), own.train()
    save(path, (load(path) if path.is_file() else {}) | heads)
    return {"test": own.evaluate(heads, policy)}


def evaluate(name: str, policy: Mapping[str, Mapping[str, float]], split: str) -> dict[str, Any]:
    """The heads that ship on texts that took no part in making them: on the test split, or on the demo's."""
    heads = {kind: head for kind, head in load(heads_of(name)).items() if kind not in labels.files(name)}
    report: dict[str, Any] = {}
    if not heads.keys() & unseen.SHIPPED.keys():
        return report
    data = Data(model_files.card(name).weights)
    if "messages" in heads:
        report["strays"] = caught(heads["messages"], data.of("strays", split), **policy["messages"])
    if "letters" in heads:
        report["strays_as_letters"] = caught(heads["letters"], data.long_strays(split), **policy["letters"])
    for kind in JUDGED[split]:
        if kind in heads and not (split == "test" and unseen.calibrated_here(name, kind)):
            judged = Judged.by(heads[kind], data.of(kind, split))
            report[kind] = judged.report(**policy.get(kind, NO_POLICY))
            if split == "test":
                outside = heads[kind].out_of_scope(data.nowhere(split).vectors)
                report[kind]["out_of_scope_auroc"] = auroc(judged.out_of_scope, outside)
    return report


def main(verb: str, name: str, policy: Mapping[str, Mapping[str, float]]) -> None:
    path = heads_of(name).with_name(model_files.METRICS)
    metrics: dict[str, Any] = model_files.metrics(name)
    own = Labelled(name) if labels.files(name) else None
    if own is not None:
        kept = {head: policy[head] for head in model_files.heads(name) if head in policy}
        policy = kept | {head: policy.get(head, NO_POLICY) for head in labels.files(name)}
    if verb == "train":
        metrics = {"policy": policy} | (_train_own(name, own, policy) if own else _train_shipped(name, policy))
    else:
        test = evaluate(name, policy, "test") | (own.evaluate(load(heads_of(name)), policy) if own else {})
        demo = evaluate(name, policy, "demo")
        metrics |= {"policy": policy, "test": test} | ({"demo": demo} if demo else {})
    metrics[model_files.HEADS_JUDGED] = model_files.heads_digest(name)
    path.write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(metrics))


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
    except AiosError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
