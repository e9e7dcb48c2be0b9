"""From texts to vectors to labels: the arithmetic of the heads, and the files that ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aios.inference_workers import classify
from aios.inference_workers.classify import CHUNKS_MAX, WORDS_MAX, Head, chunks, load, pooled, save
from aios.inference_workers.tasks import CLASSIFIER, heads_of
from aios.processors.language import workflow_files

words = st.lists(st.sampled_from(["bank", "XXXX", "loan", "XX/XX/2023", "my", "Xerox"]), max_size=500)
numbers = st.floats(-5, 5, width=32)


@given(words)
def test_chunks_cover_the_beginning_of_a_text(text: list[str]) -> None:
    """1..CHUNKS_MAX pieces of at most WORDS_MAX words, in order, without what was redacted."""
    pieces = chunks(" ".join(text))
    kept = [word for word in text if not word.startswith("XX")]
    assert 1 <= len(pieces) <= CHUNKS_MAX
    assert all(len(piece.split()) <= WORDS_MAX for piece in pieces)
    assert " ".join(pieces).split() == kept[: CHUNKS_MAX * WORDS_MAX]


def test_words_that_only_begin_like_a_redaction_stay() -> None:
    """A run of X stands alone; a date with redacted parts goes whole."""
    assert chunks("On XX/XX/2023 XXXX sent Xerox copies of form XX.") == ["On sent Xerox copies of form ."]


@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=CHUNKS_MAX))
def test_a_text_s_vector_has_length_one(vectors: list[list[float]]) -> None:
    """Or none at all, for a text whose chunks cancel out; the first chunk counts three times the second."""
    found = pooled(vectors)
    length = float(np.linalg.norm(found))
    assert length == pytest.approx(1, abs=1e-5) or length < 1e-3
    np.testing.assert_allclose(pooled([[1, 0], [0, 1]]), np.array([3, 1]) / 10**0.5, rtol=1e-6)


def head(temperature: float = 1.0) -> Head:
    weights = np.array([[1, 0], [0, 1], [-1, -1]], np.float32)
    return Head(("x", "y", "z"), weights, np.zeros(3, np.float32), temperature, np.array([2, 0], np.float32), -1.0)


@given(st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=1, max_size=5), st.floats(0.1, 10))
def test_probabilities_are_probabilities(vectors: list[list[float]], temperature: float) -> None:
    """Each row sums to 1, and the temperature changes how sure it is, never what is best."""
    asked = np.array(vectors, np.float32)
    cool, warm = head(temperature).probabilities(asked), head().probabilities(asked)
    np.testing.assert_allclose(cool.sum(axis=1), 1, rtol=1e-5)
    best = np.take_along_axis(warm, cool.argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(best, warm.max(axis=1), rtol=1e-4)


def test_an_answer_is_what_its_contract_says() -> None:
    """label, confidence, out_of_scope, and the best scores in order."""
    answer = head().classify(np.array([1.0, 0.0], np.float32))
    assert answer["label"] == "x"
    assert list(answer["scores"]) == ["x", "y", "z"]
    assert answer["confidence"] == answer["scores"]["x"] == pytest.approx(0.6652, abs=1e-3)
    assert answer["out_of_scope"] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-3)


def test_heads_survive_their_file(tmp_path: Path) -> None:
    """Saved twice, the file is the same; loaded, it answers the same to the digits that are shown."""
    save(tmp_path / "a.npz", {"one": head(0.5)})
    save(tmp_path / "b.npz", {"one": head(0.5)})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    vector = np.array([0.6, 0.8], np.float32)
    assert load(tmp_path / "a.npz")["one"].classify(vector) == head(0.5).classify(vector)


def test_what_is_no_file_of_heads_is_refused(tmp_path: Path) -> None:
    """Pickled objects above all."""
    np.savez(tmp_path / "pickled.npz", **{"one.labels": np.array([{"a": 1}], dtype=object)})
    with pytest.raises((ValueError, KeyError)):
        load(tmp_path / "pickled.npz")


def test_the_shipped_heads_know_the_labels_that_the_workflow_names() -> None:
    """Every label a head can say is one the workflow accepts, and the other way round."""
    workflow = yaml.safe_load((workflow_files.FOLDER / "document.triage.yaml").read_text())
    shipped = load(heads_of(CLASSIFIER))
    asked = {channel["head"] for channel in workflow["policy"].values() if "head" in channel}
    assert set(shipped) >= asked
    for name, trained in shipped.items():
        assert name not in asked or sorted(trained.labels) == sorted(workflow["labels"][name])
        assert trained.weights.shape == (len(trained.labels), 384)
    assert heads_of(CLASSIFIER).stat().st_size < 400_000
    assert min(len(trained.labels) for trained in shipped.values()) >= classify.SCORES_SHOWN
