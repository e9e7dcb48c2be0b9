"""What expressions compute is bounded: where they stand, by what contracts allow, and by what they are to read."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.language import workflow_check
from aios.processors.language.workflow import Workflow
from aios.streams import cel_cost, cel_tree, inputs
from aios.streams.cel_cost import STEPS_MAX, Held
from aios.streams.expression import Expression, ExpressionError
from tests.fakes import flow

NUMBERS = list(range(40_000))
THINGS = [{"name": f"n{number}", "a": number, "b": "words", "c": None, "d": True} for number in range(1_000)]
TEXT = "x" * 100_000


@pytest.mark.parametrize(
    "source",
    [
        "xs.all(a, xs.all(b, xs.all(c, a + b + c > 0)))",
        "xs.map(a, [a].filter(b, xs.exists(c, c == b)))",
        "(xs.all(a, xs.all(b, [a].all(c, true))) ? 1 : 2) == 1",
        "{'k': [xs.all(a, xs.all(b, [a].all(c, true)))]}['k'][0]",
        "(" * 80 + "1" + ")" * 80,
        "+".join(["x"] * 400),
        "!" * 90 + "true",
        "x" + ".x" * 400,
    ],
)
def test_what_cannot_be_counted_or_loops_too_deep_is_no_expression(source: str) -> None:
    """It is refused where it stands, before anything is evaluated."""
    with pytest.raises(ValueError, match="deep"):
        Expression(source)


@pytest.mark.parametrize(
    ("source", "view", "over"),
    [
        ("xs.all(a, xs.all(b, a + b >= 0))", {"xs": NUMBERS[:1_000]}, "xs with 1000 items, and in it xs with 1000"),
        ("xs.all(x, x.xs.all(y, y >= 0))", {"xs": [{"xs": NUMBERS[:1_000]}] * 1_000}, "and in it x.xs with 1000 items"),
        ("xs.map(a, a + 1)", {"xs": NUMBERS}, "xs with 40000 items"),
        ("xs.filter(a, a.a >= 0)", {"xs": THINGS}, "xs with 1000 items"),
        ("xs.map(a, xs.map(b, text))", {"xs": NUMBERS[:300], "text": TEXT}, "xs with 300 items, and in it xs with 300"),
        ("xs.map(a, text + text).size()", {"xs": NUMBERS[:300], "text": TEXT}, "xs with 300 items"),
        ("[text]" + ".map(a, a + a)" * 30, {"text": "word"}, " items"),
        ("[text]" + ".map(a, [a, a, a, a])" * 30, {"text": "x"}, " items"),
        ("+".join(["text"] * 140), {"text": TEXT}, "steps"),
        ("xs.all(a, o.things.size() > a)", {"xs": NUMBERS[:1_000], "o": {"things": THINGS}}, "xs with 1000 items"),
    ],
)
def test_what_would_compute_too_much_is_told_before_it_is_evaluated(
    source: str, view: dict[str, Any], over: str
) -> None:
    """Each of these would hold its process for half a second to minutes; the message says over which list."""
    with pytest.raises(ExpressionError, match=f"computes more than {STEPS_MAX} steps") as told:
        Expression(source).evaluate(view)
    assert over in str(told.value)


@pytest.mark.parametrize(
    ("source", "view", "gives"),
    [
        ("xs.all(a, xs.all(b, a + b >= 0))", {"xs": NUMBERS[:200]}, True),
        ("xs.exists(a, a == 39999)", {"xs": NUMBERS}, True),
        ("xs.filter(a, a.a >= 299).size()", {"xs": THINGS[:300]}, 1),
        ("xs.map(a, a.name)[0]", {"xs": THINGS[:300]}, "n0"),
        ("words.exists(w, text.contains(w))", {"words": ["y"] * 300, "text": TEXT}, False),
        ("xs.map(a, xs.map(b, b)).size()", {"xs": []}, 0),
        ("o.exists(k, k == 'b') && has(o.a)", {"o": {"a": 1, "b": 2}}, True),
    ],
)
def test_what_workflows_do_with_lists_is_let_through(source: str, view: dict[str, Any], gives: Any) -> None:
    """A list with itself, a list of hundreds, words in a long text."""
    assert Expression(source).evaluate(view) == gives


VIEW: dict[str, Any] = {"xs": [1, 2, 3], "things": [{"name": "Ana", "tags": ["a", "b"]}, {"name": "", "tags": []}]}
ATOMS = st.sampled_from(["xs", "things", "1", "'ab'", "things[0].tags", "things[1].name", "[]", "{'k': xs}", "x", "y"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    macros = st.sampled_from(["map", "filter", "all", "exists", "exists_one"])
    return st.one_of(
        st.builds(lambda a, name, v, b: f"{a}.{name}({v}, {b})", inner, macros, st.sampled_from("xy"), inner),
        st.builds(lambda a, sign, b: f"({a} {sign} {b})", inner, st.sampled_from(["+", "==", "in"]), inner),
        st.builds(lambda a, b: f"[{a}, {b}]", inner, inner),
        st.builds(lambda a: f"size({a})", inner),
        st.builds(lambda a: f"string({a})", inner),
        st.builds(lambda a, b: f"(true ? {a} : {b})", inner, inner),
    )


EXPRESSIONS = st.recursive(ATOMS, _grown, max_leaves=8)


def _counted(source: str, names: dict[str, Any]) -> int:
    node = cel_tree.read(source)
    assert node is not None
    try:
        return cel_cost.steps(node, names)
    except cel_cost.TooMuch:
        return STEPS_MAX + 1


@given(source=EXPRESSIONS)
@settings(max_examples=400)
def test_an_expression_gives_nothing_larger_than_its_steps(source: str) -> None:
    """Whatever it makes of what it reads."""
    held = _counted(source, {name: Held([value]) for name, value in VIEW.items()})
    try:
        value = Expression(source).evaluate(VIEW)
    except (ValueError, ExpressionError):
        return
    assert Held([value]).weight <= held


@given(outer=st.integers(0, 2_000), inner=st.integers(0, 2_000))
def test_a_loop_in_a_loop_counts_each_item_with_each(outer: int, inner: int) -> None:
    """No fewer steps than bodies are evaluated, and for the same sizes the same number."""
    names = {"xs": Held([[0] * outer]), "ys": Held([[0] * inner])}
    found = _counted("xs.all(a, ys.all(b, a == b))", names)
    assert found >= min(outer * inner, STEPS_MAX)
    assert found == _counted("xs.all(a, ys.all(b, a == b))", names)


CONTRACT = {
    "type": "record",
    "name": "Asked",
    "namespace": "tests",
    "fields": [
        {"name": "name", "type": "string", "default": ""},
        {"name": "risk", "type": "int", "default": 0},
        {"name": "documents", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "few", "type": {"type": "array", "items": "string"}, "default": [], "aios:max": 100},
    ],
}


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("input.documents.all(a, input.documents.all(b, a == b))", "input.documents with up to 1000 items, and in it"),
        (
            "input.documents.filter(a, a != '').map(a, [a, a]).size() > 1",
            "input.documents.filter(…) with up to 1000 items",
        ),
        ("input.few.all(a, input.few.all(b, a == b))", ""),
        ("input.documents.exists(a, a == input.name)", ""),
    ],
)
def test_a_workflow_is_checked_against_the_longest_lists_of_its_contract(when: str, says: str) -> None:
    """A bound beside the field is the way out, and the message says so."""
    told = copy.deepcopy(flow.EVERY)
    told["steps"]["weigh"]["rule"]["first_of"][0]["when"] = when
    told |= {"input": "test.asked.v1", "samples": [{"name": "Ana", "risk": 10, "documents": ["a", "b"]}]}
    taken = inputs.of_text("test.asked.v1", json.dumps(CONTRACT))
    place = ("steps", "weigh", "rule", "first_of", 0, "when")
    found = [one.says for one in workflow_check.check(Workflow.model_validate(told), taken) if one.place == place]
    assert [says in one and "aios:max" in one for one in found] == ([True] if says else [])
