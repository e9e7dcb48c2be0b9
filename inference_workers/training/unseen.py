"""What a version's heads are judged on: texts whose labels have trained nothing.

In: the version, its own labels (labels.py) and what ships. Out: the texts of each of its heads that can be judged.
Guaranteed: a head that has labels of its own is judged on their split test; the heads that ship on the test splits of
their data, letters on the demo's, since all others train and are judged by cross-validation; where a head's temperature
and out-of-scope score were fitted on its texts, calibrated_here() says so: of these the accuracy is of unseen texts,
and the rest is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from aios.inference_workers.training import labels, splits
from aios.streams import model_files

SHIPPED: Mapping[str, tuple[Path, ...]] = {
    "intents": (splits.TUNING / "intents.csv", splits.TRAINING / "strays.csv"),
    "messages": (splits.TRAINING / "messages.csv", splits.TRAINING / "strays.csv"),
    "letters": (splits.DEMO / "letters.csv",),
}
"""By head: files of texts with a label, and of those that belong to none; of what has splits, the test split."""


def heads(model: str) -> list[str]:
    """Those of a version that can be judged, those that ship first. None: it labels nothing."""
    there = model_files.heads(model)
    own = [head for head in labels.files(model) if head not in SHIPPED]
    return [head for head in (*SHIPPED, *own) if head in there]


def texts(model: str, head: str) -> Iterator[tuple[str, str]]:
    """Text and label of each; a label is empty where none fits. Raises ConfigError."""
    own = labels.files(model)
    if head in own:
        yield from ((row.text, row.label) for row in labels.read(own[head]) if row.split == "test")
        return
    for path in SHIPPED[head]:
        rows = (row for row in splits.read(path) if row.get("split", "test") == "test")
        yield from ((row["text"], row["label"]) for row in rows)


def calibrated_here(model: str, head: str) -> bool:
    """Whether a head's temperature and out-of-scope score were fitted on its texts; train.py says of which version."""
    kept = set(model_files.heads(model)) - labels.files(model).keys()
    return head == "messages" and {"messages", "intents"} <= kept
