"""Draws the splits of the triage encoder's data, once, and writes the repository's own copies.

In: a folder with cfpb_complaints.csv, banking77.csv and clinc150.csv as their authors publish them.
Out: infra/demo/data/ (200 texts that no training sees), models/triage-encoder/1/data/ (everything else
that training uses, each row with its split) and, of version 2, the 150 intents of CLINC150. Guaranteed: the same rows
on every run; no text of the demo has a twin or a near twin (half of the shorter one's word 4-grams in common) in any
other split.

Rejected: a random split of the letters. A quarter of them are mass letters that differ in a name; on both
sides of a split they would be remembered, not understood. So the demo gets letters that resemble no other.

    python -m aios.inference_workers.training.splits FOLDER
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Row = Mapping[str, str]

DEMO = Path(__file__).parents[2] / "infra" / "demo" / "data"
ENCODER = Path(__file__).parents[1] / "models" / "triage-encoder"
TRAINING = ENCODER / "1" / "data"
TUNING = ENCODER / "2" / "data"  # what version 2 learns from besides
DEMO_ROWS = {"letters": 80, "messages": 100, "strays": 20}
MESSAGES_VALIDATION = 1000  # calibration and thresholds
MESSAGES_TEST = 1000  # the card's numbers
STRAYS_FIT = 3000  # rows of CLINC150's own training split, other than its `oos`
NEAR_TWIN = 0.5
SHINGLE_WORDS = 4

LETTER_LABELS = {
    "Credit reporting, credit repair services, or other personal consumer reports": "credit_reporting",
    "Credit card or prepaid card": "card",
    "Checking or savings account": "bank_account",
    "Debt collection": "debt_collection",
    "Mortgage": "mortgage",
    "Vehicle loan or lease": "vehicle_loan",
    "Payday loan, title loan, or personal loan": "personal_loan",
    "Money transfer, virtual currency, or money service": "money_transfer",
    "Student loan": "student_loan",
}
"""The database's products, as the labels a workflow names."""

BANKING_INTENTS = frozenset(
    [
        "account_blocked",
        "application_status",
        "apr",
        "balance",
        "bill_balance",
        "bill_due",
        "card_declined",
        "credit_limit",
        "credit_limit_change",
        "credit_score",
        "damaged_card",
        "direct_deposit",
        "exchange_rate",
        "expiration_date",
        "freeze_account",
        "improve_credit_score",
        "interest_rate",
        "international_fees",
        "min_payment",
        "new_card",
        "order_checks",
        "pay_bill",
        "pin_change",
        "redeem_rewards",
        "replacement_card_duration",
        "report_fraud",
        "report_lost_card",
        "rewards_balance",
        "routing",
        "spending_history",
        "transactions",
        "transfer",
    ]
)
"""CLINC150's intents that a bank would answer: no examples of what belongs nowhere."""


def rank(text: str) -> str:
    """Where a text stands in the draw: by hash, so that no order of a file matters."""
    return hashlib.sha256(f"aios split 1: {text}".encode()).hexdigest()


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """The text's word 4-grams, lower case; a shorter text is one shingle."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    return frozenset(tuple(words[i : i + SHINGLE_WORDS]) for i in range(max(1, len(words) - SHINGLE_WORDS + 1)))


def alike(left: frozenset[tuple[str, ...]], right: frozenset[tuple[str, ...]]) -> bool:
    """Whether two texts, as their shingles, are near twins."""
    return len(left & right) >= NEAR_TWIN * min(len(left), len(right))


def near_twins(texts: Sequence[str]) -> set[int]:
    """Indices of texts that share half of the shorter one's shingles with another."""
    cut = [shingles(text) for text in texts]
    found: set[int] = set()
    for i, left in enumerate(cut):
        for j in range(i):
            if alike(left, cut[j]):
                found |= {i, j}
    return found


def split_letters(rows: Sequence[Row]) -> list[dict[str, str]]:
    """80 letters for the demo, label by label in proportion, none with a near twin; the others train."""
    texts = [row["narrative"].strip() for row in rows]
    labels = [LETTER_LABELS[row["product"]] for row in rows]
    twins = near_twins(texts)
    by_label: dict[str, list[int]] = defaultdict(list)
    for index in sorted((i for i in range(len(rows)) if i not in twins), key=lambda i: rank(texts[i])):
        by_label[labels[index]].append(index)
    quota = quotas(Counter(labels), DEMO_ROWS["letters"])
    demo = {index for label, wanted in quota.items() for index in by_label[label][:wanted]}
    return [
        {"id": row["complaint_id"], "label": labels[i], "split": "demo" if i in demo else "train", "text": texts[i]}
        for i, row in enumerate(rows)
    ]


def quotas(counts: Mapping[str, int], total: int) -> dict[str, int]:
    """`total` shared out in proportion, by largest remainders."""
    everything = sum(counts.values())
    shares = {label: count * total / everything for label, count in counts.items()}
    given = {label: int(share) for label, share in shares.items()}
    for label in sorted(shares, key=lambda name: given[name] - shares[name])[: total - sum(given.values())]:
        given[label] += 1
    return given


def split_messages(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Demo, then validation, then test, then training; texts close to one of the demo's are left out."""
    ordered = sorted(_distinct(rows), key=lambda row: rank(row["text"]))
    demo = ordered[: DEMO_ROWS["messages"]]
    rest = _unlike(ordered[len(demo) :], demo)
    edges = (MESSAGES_VALIDATION, MESSAGES_VALIDATION + MESSAGES_TEST)
    return [
        *(_message(row, "demo") for row in demo),
        *(_message(row, "validation") for row in rest[: edges[0]]),
        *(_message(row, "test") for row in rest[edges[0] : edges[1]]),
        *(_message(row, "train") for row in rest[edges[1] :]),
    ]


def split_strays(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The demo's 20 and the unseen halves come from `oos`; other intents, a bank's own left out, only train."""
    ordered = sorted(_distinct(rows), key=lambda row: rank(row["text"]))
    nowhere = [row for row in ordered if row["intent"] == "oos"]
    demo = [row for row in nowhere if row["split"] == "dev"][: DEMO_ROWS["strays"]]
    unseen = _unlike([row for row in nowhere if row["split"] == "dev"][len(demo) :], demo)
    other = [row for row in ordered if row["split"] == "train" and row["intent"] not in BANKING_INTENTS | {"oos"}]
    fit = _unlike([row for row in nowhere if row["split"] == "train"] + other[:STRAYS_FIT], demo)
    half = len(unseen) // 2
    return [
        *(_stray(row, "demo") for row in demo),
        *(_stray(row, "validation") for row in unseen[:half]),
        *(_stray(row, "test") for row in unseen[half:]),
        *(_stray(row, "train") for row in fit),
    ]


def split_intents(rows: Sequence[Row], demo: Sequence[Row]) -> list[dict[str, str]]:
    """CLINC150's own training split trains; its `dev` is halved into validation and test. demo: texts of every kind."""
    ordered = sorted(_distinct(rows), key=lambda row: rank(row["text"]))
    inside = _unlike([row for row in ordered if row["intent"] != "oos"], demo)
    unseen = [row for row in inside if row["split"] == "dev"]
    half = len(unseen) // 2
    return [
        *(_message(row, "validation") for row in unseen[:half]),
        *(_message(row, "test") for row in unseen[half:]),
        *(_message(row, "train") for row in inside if row["split"] == "train"),
    ]


def _distinct(rows: Iterable[Row]) -> list[Row]:
    return list({row["text"].strip().lower(): row for row in rows}.values())


def _unlike(rows: Sequence[Row], demo: Sequence[Row]) -> list[Row]:
    """Rows without near twins of the demo's texts."""
    cut = [shingles(row["text"]) for row in demo]

    def is_alike(row: Row) -> bool:
        own = shingles(row["text"])
        return any(alike(own, other) for other in cut)

    return [row for row in rows if not is_alike(row)]


def _message(row: Row, split: str) -> dict[str, str]:
    return {"label": row["intent"], "split": split, "text": row["text"].strip()}


def _stray(row: Row, split: str) -> dict[str, str]:
    return {"label": "", "split": split, "text": row["text"].strip()}


def read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Sequence[Row], fields: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(source: Path) -> None:
    drawn = {
        "letters": split_letters(read(source / "cfpb_complaints.csv")),
        "messages": split_messages(read(source / "banking77.csv")),
        "strays": split_strays(read(source / "clinc150.csv")),
    }
    for kind, rows in drawn.items():
        own = ["id"] if kind == "letters" else []
        write(DEMO / f"{kind}.csv", [r for r in rows if r["split"] == "demo"], [*own, "label", "text"])
        write(TRAINING / f"{kind}.csv", [r for r in rows if r["split"] != "demo"], [*own, "label", "split", "text"])
        print(kind, dict(Counter(row["split"] for row in rows)))
    demo = [row for rows in drawn.values() for row in rows if row["split"] == "demo"]
    intents = split_intents(read(source / "clinc150.csv"), demo)
    write(TUNING / "intents.csv", intents, ["label", "split", "text"])
    print("intents", dict(Counter(row["split"] for row in intents)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
