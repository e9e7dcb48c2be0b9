"""How a model version is judged: figures of answers, and the out-of-scope score of several signs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.inference_workers.classify import Head, Scope, load, save, signs
from aios.inference_workers.training import splits, unseen
from aios.inference_workers.training.judged import Judged, auroc
from aios.infra import judging
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCompleted
from aios.streams.config import Settings
from aios.streams.topics import Topic
from tests.fakes.answers import answer_to
from tests.fakes.registry import FakeRegistry

scores = st.lists(st.integers(0, 5).map(lambda n: n / 5), min_size=1, max_size=20)


@given(scores, scores)
def test_the_auroc_is_the_chance_of_the_right_order(inside: list[float], outside: list[float]) -> None:
    """Counted pair by pair, a tie as half."""
    pairs = [(o > i) + (o == i) / 2 for i in inside for o in outside]
    assert auroc(np.array(inside), np.array(outside)) == pytest.approx(sum(pairs) / len(pairs), abs=1e-4)


def test_what_says_how_sure_it_is_has_no_calibration_error() -> None:
    """Ten texts answered with 0.8: the error is 0 where eight are right, 0.2 where all are."""
    sure = np.full(10, 0.8)
    right = np.array([True] * 8 + [False] * 2)
    assert Judged(right, sure, sure, np.ones(10)).calibration_error() == pytest.approx(0, abs=1e-6)
    assert Judged(np.ones(10), sure, sure, np.ones(10)).calibration_error() == pytest.approx(0.2, abs=1e-4)


def of_letters(*, near: float) -> Judged:
    """Eighty, as the demo's are: most are sure; one that is wrong stands near the border of two bins."""
    bins = ((0.345, 3, 1), (0.48, 2, 1), (0.55, 4, 3), (0.636, 5, 4), (0.745, 4, 3), (0.854, 9, 9), (0.971, 52, 50))
    sure = np.concatenate([[near], *(np.full(count, at) for at, count, _ in bins)])
    right = np.concatenate([[False], *(np.arange(count) < good for _, count, good in bins)])
    return Judged(right, sure, np.zeros(len(sure)), np.ones(len(sure)))


def test_of_few_texts_chance_says_more_of_the_calibration_error_than_the_head() -> None:
    """One confidence that two processors round differently moves it by a third; what chance makes stays, above both."""
    below, above = of_letters(near=0.7995), of_letters(near=0.8005)
    errors = [one.calibration_error() for one in (below, above)]
    assert abs(errors[0] - errors[1]) > 0.015
    chance = [one.calibration_by_chance() for one in (below, above)]
    assert chance[0] == pytest.approx(chance[1], abs=0.002)
    assert max(errors) < min(chance) < 0.12


@given(st.integers(0, 2**32 - 1), st.sampled_from([300, 3_000]))
@settings(max_examples=40, deadline=None)
def test_a_head_that_is_exact_stays_about_below_what_chance_makes(seed: int, count: int) -> None:
    """Never much above; one that is far too sure of much is found above."""
    chance = np.random.default_rng(seed)
    sure = chance.uniform(0.3, 1, count)
    exact = Judged(chance.random(count) < sure, sure, np.zeros(count), np.ones(count))
    assert 0 < exact.calibration_error() < 1.8 * exact.calibration_by_chance()
    too_sure = Judged(chance.random(count) < sure / 2, sure, np.zeros(count), np.ones(count))
    assert too_sure.calibration_error() > too_sure.calibration_by_chance()


def test_what_chance_makes_is_said_where_each_text_counts_once() -> None:
    """Texts that are judged again and again in a cross-validation are not so many draws; of none there is nothing."""
    one = of_letters(near=0.7)
    assert one.report(0.6, 0.5)["calibration_by_chance"] == one.calibration_by_chance()
    fifth = Judged(one.right, one.confidence, one.out_of_scope, one.shares / 5)
    assert "calibration_by_chance" not in fifth.report(0.6, 0.5)
    empty = Judged(*(np.array([]) for _ in range(4)))
    assert empty.calibration_by_chance() == 0


def head(scope: Scope | None) -> Head:
    weights = np.eye(3, dtype=np.float32)
    return Head(("x", "y", "z"), weights, np.zeros(3, np.float32), 0.1, np.zeros(3, np.float32), 0.0, scope)


def test_a_text_between_the_labels_is_further_out_than_one_at_a_label() -> None:
    """The signs are the direction, both maxima and the distance to the second best; the score follows them."""
    at, between = np.array([[1.0, 0, 0]], np.float32), np.array([[1.0, 1, 1]], np.float32) / 3**0.5
    np.testing.assert_allclose(signs(at, np.array([7.0]))[0], [7, np.log(np.e + 2), 1, 1], rtol=1e-6)
    judge = head(Scope(np.array([0, 0, 0, -5], np.float32), 2.0))
    assert judge.out_of_scope(at)[0] < 0.1
    assert judge.out_of_scope(between)[0] > 0.8


def test_the_signs_survive_their_file_and_old_files_have_none(tmp_path: Path) -> None:
    """A head without them scores by the direction alone."""
    scope = Scope(np.array([1, -2, 0.5, -5], np.float32), 2.0)
    save(tmp_path / "heads.npz", {"new": head(scope), "old": head(None)})
    found = load(tmp_path / "heads.npz")
    vector = np.array([0.6, 0.8, 0], np.float32)
    assert found["new"].classify(vector) == head(scope).classify(vector)
    assert found["old"].scope is None


def test_what_was_not_answered_counts_as_wrong() -> None:
    """Failed answers and missing ones; a stray has no right label."""
    asked = [
        judging.Question("intents", label, judging._request(Settings(), "m@1", "intents", "text", str(number)))
        for number, label in enumerate(["a", "b", "c", ""])
    ]
    answers = {
        one.request.request_id: _answer(one, label, out_of_scope)
        for one, label, out_of_scope in zip(asked, ["a", "x", None, "a"], [0.1, 0.2, 0.3, 0.9], strict=True)
        if label is not None
    }
    figures = judging._figures("intents", asked, answers, 1.0)
    assert (figures["texts"], figures["failed"], figures["out_of_scope_auroc"]) == (4, 1, 1.0)
    assert figures["accuracy"] == pytest.approx(1 / 3, abs=1e-3)


@pytest.mark.parametrize(
    ("model", "texts"),
    [
        ("triage-encoder@2", {"intents": 1494 + 40, "messages": 1000 + 40, "letters": 80}),
        ("triage-encoder@1", {"messages": 1000 + 40, "letters": 80}),
        ("summariser@1", {}),
    ],
)
def test_every_head_is_judged_on_texts_whose_labels_trained_nothing(
    model: str, texts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test splits and the demo's letters, asked as a workflow asks them; what was calibrated on them is said."""

    def answered(_: object, __: object, asked: list[judging.Question], topic: Topic) -> dict[str, InferenceCompleted]:
        assert {one.request.model for one in asked} == {model}
        assert topic.name == "inference.classify.bulk.requested.v1"
        assert {json.loads(one.request.options)["head"] for one in asked} == {one.head for one in asked}
        return {one.request.request_id: _answer(one, one.label, 0.0 if one.label else 1.0) for one in asked}

    monkeypatch.setattr(judging, "_answers", answered)
    found = judging.judge(Settings(), Codec(FakeRegistry()), model)
    assert {one["head"]: one["texts"] for one in found} == texts
    assert {one["accuracy"] for one in found} <= {1.0}
    assert {one["head"]: one["out_of_scope_auroc"] for one in found} == {
        head: None if head == "letters" else 1.0 for head in texts
    }
    assert [one["head"] for one in found if one["calibrated_here"]] == (["messages"] if "intents" in texts else [])


@pytest.mark.parametrize("head", unseen.SHIPPED)
def test_no_text_that_a_head_is_judged_on_has_taught_it(head: str) -> None:
    """By its words: none of them is in what it was trained or calibrated with (messages: trained alone)."""
    read = [*splits.TRAINING.glob("*.csv"), *splits.TUNING.glob("*.csv")]
    own = [path for path in read if path.stem.startswith((head.removesuffix("s"), "strays"))]
    learned = {row["text"].lower() for path in own for row in splits.read(path) if row.get("split") != "test"}
    assert len(learned) > len(own)
    assert not learned & {text.lower() for text, _ in unseen.texts("triage-encoder@2", head)}


def _answer(one: judging.Question, label: str, out_of_scope: float) -> InferenceCompleted:
    output = json.dumps({"label": label, "confidence": 0.9, "out_of_scope": out_of_scope, "scores": {}})
    return answer_to(one.request, output=output)
