"""What the why-log says of a rule: the row, and the numbers that its conditions compared."""

from __future__ import annotations

from typing import Any

from aios.processors.cases import weighing
from aios.processors.language.workflow import Rule

RULE = Rule.model_validate(
    {
        "first_of": [
            {"when": "answers.read.risk > policy[input.channel].risk_max", "reason": "risky", "then": "ask"},
            {"when": "answers.read.sure == false && answers.read.name != ''", "then": "ask"},
            {"when": "answers.all[0].score >= policy['level'] && size(answers.all) > 9", "then": "stop"},
        ],
        "otherwise": {"then": "go"},
    }
)


def view(**read: Any) -> dict[str, Any]:
    policy = {"letter": {"risk_max": 70}, "level": 0.5}
    answers = {"read": {"risk": 10, "sure": True, "name": "Ana", **read}, "all": [{"score": 0.4}]}
    return {"input": {"channel": "letter", "income": 5}, "answers": answers, "policy": policy}


def told(seen: dict[str, Any]) -> dict[str, Any]:
    return weighing.weighed("gate", RULE, RULE.choose(seen), seen)


def test_the_row_that_chose_is_told_with_what_it_compared() -> None:
    """The answer beside the threshold, found through the input's own field."""
    assert told(view(risk=90)) == {
        "rule": "gate",
        "row": 1,
        "then": "ask",
        "when": "answers.read.risk > policy[input.channel].risk_max",
        "reason": "risky",
        "weighed": {"answers.read.risk": 90, "policy[input.channel].risk_max": 70},
    }


def test_where_no_row_holds_everything_that_was_compared_is_told() -> None:
    """And no text, neither of the answers nor of the input."""
    assert told(view()) == {
        "rule": "gate",
        "row": 0,
        "then": "go",
        "weighed": {
            "answers.read.risk": 10,
            "policy[input.channel].risk_max": 70,
            "answers.read.sure": True,
            "answers.all[0].score": 0.4,
            "policy['level']": 0.5,
        },
    }


def test_what_is_not_there_is_left_out() -> None:
    """A rule may ask `has(answers.x)` of a step that never ran."""
    asks = Rule.model_validate(
        {"first_of": [{"when": "has(answers.read) && answers.read.risk > 1", "then": "a"}], "otherwise": {"then": "b"}}
    )
    seen = {"input": {}, "answers": {}, "policy": {}}
    assert weighing.weighed("gate", asks, asks.choose(seen), seen) == {"rule": "gate", "row": 0, "then": "b"}
