"""Names and types of expressions, against the contracts of input, tasks and operations; no event is needed for it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from aios.processors.connectors import registry
from aios.processors.connectors.connector import Effect, Operation
from aios.processors.language import cel_types, workflow_check, workflow_names, workflow_walk
from aios.processors.language.cel_types import Typed, of_value
from aios.processors.language.workflow import Workflow
from aios.streams import cel_tree, inputs
from aios.streams.errors import ConfigError
from aios.streams.expression import Expression, ExpressionError
from tests.fakes import flow

Edit = tuple[tuple[Any, ...], Any]  # a place in the workflow, and what stands there


class Hit(BaseModel):
    score: float
    name: str


class Screened(BaseModel):
    score: int
    hits: list[Hit]


class ScreenRequest(BaseModel):
    name: str
    kind: Literal["individual", "entity"] = "individual"
    born: str | None = None


class Page(BaseModel):
    text: str


class ReadRequest(BaseModel):
    document: str
    number: int


class Booked(BaseModel):
    slot: str


class BookRequest(BaseModel):
    name: str


SYSTEMS = {
    "sanctions": {"screen": Operation(request=ScreenRequest, response=Screened, response_contract="screened.v1")},
    "documents": {"read": Operation(request=ReadRequest, response=Page, response_contract="page.v1")},
    "calendars": {
        "book": Operation(
            request=BookRequest,
            response=Booked,
            response_contract="booked.v1",
            effects=frozenset({Effect.RECONCILED, Effect.AT_LEAST_ONCE}),
        )
    },
}
CONTRACT = """
{"type": "record", "name": "Asked", "namespace": "tests", "fields": [
  {"name": "name", "type": "string", "default": ""}, {"name": "risk", "type": "int", "default": 0},
  {"name": "documents", "type": {"type": "array", "items": "string"}, "default": []}]}
"""


@pytest.fixture(autouse=True)
def _systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three systems whose contracts are those above."""

    def operations(system: str) -> Mapping[str, Operation]:
        if system not in SYSTEMS:
            raise ConfigError(f"there is no system {system}; there are {', '.join(SYSTEMS)}")
        return SYSTEMS[system]

    monkeypatch.setattr(registry, "operations", operations)


def problems(*edits: Edit) -> list[str]:
    """What is wrong with the workflow of every kind after these edits, each as `place: words`."""
    said = copy.deepcopy(flow.EVERY)
    said |= {
        "input": "test.asked.v1",
        "samples": [{"name": "Ana", "risk": 10, "documents": ["a", "b"]}, {"name": "Ana", "risk": 90}],
        "examples": {"booked": [{"what": "moved"}, {"what": "cancelled"}], "screen": [{"score": 80, "hits": []}]},
    }
    for (*place, last), value in edits:
        inner = said
        for key in place:
            inner = inner[key]
        inner[last] = value
    taken = inputs.of_text("test.asked.v1", CONTRACT)
    found = workflow_check.check(Workflow.model_validate(said), taken)
    return [f"{'.'.join(map(str, each.place))}: {each.says}" for each in found]


def test_a_workflow_of_every_kind_is_sound() -> None:
    """Nothing is refused that its contracts allow."""
    assert problems() == []


SCREEN = ("steps", "gather", "parallel", "of", "screen", "connect")
ABOUT = ("steps", "gather", "parallel", "of", "about", "infer")
EACH = ("steps", "read", "map", "each", "connect")


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ((*SCREEN, "request", "name"), "input.nam", "input has no field nam; did you mean name?"),
        ((*SCREEN, "request", "name"), "input.risk", "gives a whole number where a text is needed"),
        ((*SCREEN, "request"), {"nme": "input.name"}, "asked nothing of the name nme; did you mean name?"),
        ((*SCREEN, "request"), {}, "sanctions.screen needs name"),
        (
            (*SCREEN, "request"),
            {"name": "input.name", "kind": "'company'"},
            "request.kind: Input should be 'individual'",
        ),
        (
            (*SCREEN, "request"),
            {"name": "input.name", "kind": "labels.verdicts[0]"},
            "request.kind: Input should be",
        ),
        ((*SCREEN, "operation"), "scren", "cannot be asked to scren; did you mean screen?"),
        ((*SCREEN, "system"), "sanction", "there is no system sanction"),
        ((*SCREEN, "effect"), "reconciled", "cannot be asked for effect reconciled; it gives none"),
        (("steps", "book", "connect", "effect"), "none", "it gives at_least_once, reconciled"),
        ((*EACH, "request", "document"), "itm", "there is no name itm; did you mean item?"),
        ((*EACH, "request", "document"), "item.text", "item is a text and has no field text"),
        ((*EACH, "request", "number"), "item", "gives a text where a whole number is needed"),
        (("steps", "read", "map", "over"), "input.name", "gives a text where a list is needed"),
        (("steps", "weigh", "rule", "first_of", 0, "when"), "answers.screen.scor > 1", "did you mean score?"),
        (("steps", "weigh", "rule", "first_of", 0, "when"), "true || answers.screen.scor > 1", "has no field scor"),
        (
            ("steps", "weigh", "rule", "first_of", 0, "when"),
            "answers.screen.hits.exists(h, h.nam == 'x')",
            "h has no field nam; did you mean name?",
        ),
        (
            ("steps", "weigh", "rule", "first_of", 0, "when"),
            "answers.screen.hits.exists(h, h.name > 1)",
            "a text is compared with a whole number",
        ),
        (
            ("steps", "weigh", "rule", "first_of", 0, "when"),
            "answers.screen.hits.any(h, h.name == 'x')",
            "lists have no any; did you mean exists?",
        ),
        (
            ("steps", "weigh", "rule", "first_of", 0, "when"),
            "answers.screen.hits.exist(h, h.name == 'x')",
            "lists have no exist; did you mean exists? (allowed here: all, exists, exists_one, filter, map)",
        ),
        (("steps", "weigh", "rule", "first_of", 0, "when"), "answers.read[0].txt == ''", "did you mean text?"),
        (("steps", "weigh", "rule", "first_of", 0, "when"), "answers.screen.score", "where a truth value is needed"),
        (("steps", "weigh", "rule", "first_of", 0, "when"), "policy.risk_mx > 1", "did you mean risk_max?"),
        (("steps", "weigh", "rule", "first_of", 0, "when"), "answers.book.slot == ''", "no way leads from step book"),
        (("steps", "weigh", "rule", "first_of", 0, "when"), "answers.screen.score && true", "a truth value is needed"),
        (("steps", "weigh", "rule", "first_of", 0, "when"), "input.name + 1 == 'a'", "do not add up"),
        (("steps", "ask", "review", "people"), "'2'", "gives a text where a whole number is needed"),
        (("steps", "ask", "review", "people"), "3", "1 or 2 is needed"),
        (("steps", "ask", "review", "evidence", "answers"), "answers.gather", "answers has no field gather"),
        (("steps", "changed", "rule", "first_of", 0, "when"), "answers.booked.wat == ''", "did you mean what?"),
        (("steps", "booked", "wait", "says", "slot"), "answers.book.slots", "did you mean slot?"),
        (("steps", "done", "emit", "output", "slot"), "answers.bok.slot", "did you mean book?"),
        (("steps", "changed", "rule", "otherwise"), {"then": "nowhere"}, "there is no step nowhere"),
        (("steps", "judged", "rule", "otherwise"), {"then": "gather"}, "steps lead in a circle"),
        (("steps", "booked", "wait", "on_expiry"), {"then": "book"}, "steps lead in a circle"),
        (("autonomy", "ask"), "asc", "there is no review step asc; did you mean ask?"),
        (("steps", "ask", "review", "on_expiry"), {"then": "done"}, "no field 'book'"),
        (("examples", "screen"), ({"score": "high", "hits": []},), "is no screened.v1: score"),
        (("examples", "scren"), ({},), "there is no step scren; did you mean screen?"),
        (("steps", "done", "emit", "decided_by"), "policy", "a text has quotes of its own: \"'policy'\""),
        (("steps", "ask", "review", "suggestion"), "accept", "a text has quotes of its own: \"'accept'\""),
        ((*SCREEN, "request", "kind"), "entity", "a text has quotes of its own: \"'entity'\""),
        (("examples", "ask"), ({},), "what is tried of ask is each of its choices, and no example"),
        (("examples", "gather"), ({},), "gather is answered by branch (allowed here: about, screen)"),
        (("examples", "weigh"), ({},), "step weigh is answered nothing"),
        ((*ABOUT, "model"), "triage-encodr", "there is no model triage-encodr; did you mean triage-encoder?"),
        ((*ABOUT, "model"), "triage-encoder@99", "there is no model triage-encoder@99; did you mean triage-encoder@"),
        ((*ABOUT, "model"), "summariser", "pool classify answers with triage-encoder, not with summariser"),
        ((*ABOUT, "pool"), "generate", "pool generate answers no classify (allowed here: classify)"),
        ((*ABOUT, "options", "head"), "'mesages'", "has no head mesages; did you mean messages?"),
        ((*ABOUT, "priority"), "'high'", "gives a text where a whole number is needed"),
        ((*ABOUT, "priority"), "-5000", "a whole number from -1000 to 1000 is needed"),
        ((*ABOUT, "priority"), "input.rsk", "input has no field rsk; did you mean risk?"),
        ((*ABOUT, "options"), {}, "task classify needs `head`"),
    ],
)
def test_a_wrong_name_is_found_before_any_event(place: tuple[Any, ...], value: Any, says: str) -> None:
    """Where it stands, and what was probably meant; also in branches of an expression that no sample takes."""
    found = problems((place, value))
    assert any(says in one for one in found), found


def test_where_nobody_decides_nothing_may_be_done_alone() -> None:
    """A workflow whose autonomy can be narrowed says so before it is."""
    to_refuse = (("steps", "ask", "review", "on_expiry"), {"then": "refuse"})
    assert any("would be done alone" in one for one in problems(to_refuse))


def test_what_a_case_is_stopped_before_can_follow_from_what_a_person_decides() -> None:
    """Else a case in `suggest` could never do it; where only what a person decided leads there, nobody is stopped."""
    refused = (("steps", "judged", "rule", "first_of", 0, "then"), "refuse")
    says = "is stopped before book, and what ask decides never leads there"
    assert any(says in one for one in problems(refused))
    guarded = (("steps", "weigh", "rule", "otherwise"), {"then": "ask"})
    assert not any(says in one for one in problems(guarded))


def test_a_branch_and_a_step_have_different_names() -> None:
    """Their answers stand side by side."""
    branches = copy.deepcopy(flow.EVERY["steps"]["gather"]["parallel"]["of"])
    edit = (("steps", "gather", "parallel", "of"), {"book": branches["screen"], **branches})
    assert any("there is another book" in one for one in problems(edit))


VALUE: Mapping[str, Any] = {
    "input": {"name": "Ana", "risk": 3, "tags": ["a"], "share": 0.5, "paid": True},
    "policy": {"a": {"least": 1}, "b": {"least": 2}},
}
NAMES = {name: of_value(value) for name, value in VALUE.items()}
KNOWN = ["input.name", "input.risk", "input.share", "input.paid", "input.tags", "policy.a.least", "policy[input.name]"]
PLAIN = ["1", "2.5", "'a'", "true", "[]", "['a', 'b']", "{'k': 1}", "input.nam", "nothing", "size(input.tags)"]
ATOMS = st.sampled_from([*KNOWN, *PLAIN])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    signs = st.sampled_from(["+", "-", "*", "==", "!=", "<", "&&", "||", "in"])
    return st.one_of(
        st.builds(lambda a, sign, b: f"({a} {sign} {b})", inner, signs, inner),
        st.builds(lambda a, b, c: f"({a} ? {b} : {c})", inner, inner, inner),
        st.builds(lambda a, b: f"{a}.exists(x, x == {b})", inner, inner),
        st.builds(lambda a: f"!{a}", inner),
        st.builds(lambda a, b: f"[{a}, {b}]", inner, inner),
    )


@example(source="!!(input.paid ? input.name : input.risk)")
@given(source=st.recursive(ATOMS, _grown, max_leaves=6))
def test_what_runs_is_never_refused_for_an_unknown_name(source: str) -> None:
    """Whatever expression gives a value over a view has, for its shapes, no name that is missing there."""
    tree = cel_tree.read(source)
    assert tree is not None, "every expression of these is read"
    typed = Typed(NAMES)
    gives = typed.give(tree)
    try:
        value = Expression(source).evaluate(VALUE)
    except (ExpressionError, ValueError):  # no value, or refused where it is loaded: loops too deep in one another
        return
    strict = [one for one in typed.wrong if "no name" in one or "has no field" in one]
    assert not strict or any(sign in source for sign in ("?", "||", "&&", "exists"))  # a part that was not evaluated
    if not typed.wrong and gives.kind not in ("any", "null") and value is not None:
        assert cel_types.fits(of_value(value), gives)


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("answers.a.b + answers['c'].d", {"a", "c"}),
        ("has(answers.a)", {"a"}),
        ("size(answers)", None),
        ("input.x.map(answers, 1)", None),
    ],
)
def test_which_answers_an_expression_reads(source: str, reads: set[str] | None) -> None:
    """None: it may look at any of them."""
    tree = cel_tree.read(source)
    assert tree is not None
    assert cel_tree.fields_of(tree, "answers") == reads


@pytest.mark.parametrize("macro", ["map(k, k)", "filter(k, k != 'a')"])
def test_no_list_is_made_of_a_maps_fields(macro: str) -> None:
    """They have another order in each process, so a replay would write something else."""
    typed = Typed({"policy": of_value({"a": 1, "b": 2})})
    node = cel_tree.read(f"policy.{macro}")
    assert node is not None
    typed.give(node)
    assert "whose fields have no order" in typed.wrong[0]
    fine = Typed({"policy": of_value({"a": 1})})
    node = cel_tree.read("policy.exists(k, k == 'a')")
    assert node is not None
    fine.give(node)
    assert fine.wrong == []


def test_a_map_goes_over_no_list_that_grows() -> None:
    """What policies note grows while the items are asked: an item would be another one then."""
    told = copy.deepcopy(flow.EVERY)
    told["steps"]["read"]["map"]["over"] = "noted"
    found = workflow_names.wrong_names(Workflow.model_validate(told), inputs.shipped("document.received.v1"))
    assert [says for place, says in found if place == ("steps", "read", "map", "over")] == [
        "what is noted grows while the items are asked: a list that stays is needed here"
    ]


@pytest.mark.parametrize("inside", ["infer", "parallel", "map"])
@pytest.mark.parametrize("guarded", [True, False])
def test_no_model_reads_another_text_than_its_policies_judged(inside: str, guarded: bool) -> None:
    """What they note would change what the model is sent after it was judged; where nothing judges, nothing does."""
    told = copy.deepcopy(flow.EVERY)
    ask = told["steps"]["gather"]["parallel"]["of"]["about"]["infer"]
    ask["input"] = "input.name + (noted.size() > 0 ? noted[0] : '')"
    if guarded:
        ask["guards"] = {"before": ["urgent@1"]}
    place: tuple[Any, ...] = ("steps", "gather", "parallel", "of", "about", "infer", "input")
    if inside == "map":
        told["steps"]["read"]["map"]["each"] = {"infer": ask}
        place = ("steps", "read", "map", "each", "infer", "input")
    elif inside == "infer":
        told["steps"]["one"] = {"infer": {**ask, "status": "s", "then": "close", "on_error": {"then": "close"}}}
        place = ("steps", "one", "infer", "input")
    found = workflow_names.wrong_names(Workflow.model_validate(told), inputs.shipped("document.received.v1"))
    refused = [says for where, says in found if where == place and "the model would read another" in says]
    assert len(refused) == guarded


@pytest.mark.parametrize(
    ("decided_by", "says"),
    [
        ("'timer'", "has status expired, not decided"),
        *((who, "'policy', 'timer' or 'reviewer:' with a name") for who in ("'robot'", "'robot:x'", "'reviewer:'")),
    ],
)
def test_who_decides_is_somebody_who_can(decided_by: str, says: str) -> None:
    """A timer decides nothing but that nobody has."""
    told = copy.deepcopy(flow.EVERY)
    told["steps"] = {"done": {"emit": {"status": "decided", "outcome": "booked", "decided_by": decided_by}}}
    told |= {"start": "done", "autonomy": None, "input": "document.received.v1"}
    found = workflow_walk.walk(Workflow.model_validate(told), inputs.shipped("document.received.v1"))
    assert [place for place, said in found if says in said] == [("steps", "done", "emit", "decided_by")]


@pytest.mark.parametrize("branch", ["screen", "about"])
def test_whichever_branch_failed_its_answer_is_not_there(branch: str) -> None:
    """What a failure leads to reads it with `has` alone, of the first branch and of any other."""
    evidence = ("steps", "ask", "review", "evidence")
    assert any("no field" in one for one in problems((evidence, {"said": f"answers.{branch}"})))
    assert problems((evidence, {"said": f"has(answers.{branch}) ? answers.{branch} : {{}}"})) == []


@pytest.mark.parametrize("index", [0, 1])
def test_whichever_item_failed_nothing_stands_in_its_place(index: int) -> None:
    """What a failure leads to looks whether the item is null, of the first and of any other."""
    evidence = ("steps", "ask", "review", "evidence")
    there = f"has(answers.read) && size(answers.read) > {index}"
    page = f"answers.read[{index}]"
    assert problems((evidence, {"said": f"{there} ? {page}.text : ''"})) != []
    assert problems((evidence, {"said": f"{there} && {page} != null ? {page}.text : ''"})) == []


def test_each_label_that_leads_elsewhere_is_tried() -> None:
    """However far behind it stands among what a person may choose."""
    verdicts = ["accept", "reject", "one", "two", "three", "close"]
    close = {"when": "answers.ask.label == 'close'", "then": "closed"}
    by = "'reviewer:' + answers.ask.reviewer"
    edits: tuple[Edit, ...] = (
        (("labels", "verdicts"), verdicts),
        (("steps", "judged", "rule", "first_of"), [*flow.EVERY["steps"]["judged"]["rule"]["first_of"], close]),
        (("steps", "closed"), {"emit": {"status": "decided", "outcome": "closed", "decided_by": by}}),
    )
    assert problems(*edits) == []


def test_where_one_person_is_asked_there_is_no_second() -> None:
    """Of two who may be asked, the case that asks one is tried with one."""
    summary = ("steps", "refuse", "emit", "summary")
    second = "has(answers.ask) ? answers.ask.reviewers[1] : ''"
    assert problems((summary, second)) != []
    assert problems((summary, second.replace("[1]", "[0]"))) == []


@pytest.mark.parametrize("fails", [False, True])
def test_what_policies_note_in_a_branch_is_tried(fails: bool) -> None:
    """Also where the branch, or another, failed afterwards."""
    ways = ("steps", "gather", "parallel", *(("on_error", "then") if fails else ("then",)))
    hurried = {"when": "noted.size() > 0", "then": "hurry"}
    sort = {"rule": {"first_of": [hurried], "otherwise": {"then": "ask" if fails else "read"}}}
    hurry = {"emit": {"status": "expired", "outcome": "hurried", "decided_by": "'timer'"}}
    guards = {"before": ["urgent@1"]}
    steps: tuple[Edit, ...] = ((("steps", "sort"), sort), (("steps", "hurry"), hurry))
    found = problems(((*ABOUT, "guards"), guards), (ways, "sort"), *steps)
    assert found == []


def test_an_example_is_tried_as_its_system_would_say_it() -> None:
    """A number of its contract is one that was written whole, too."""
    near = ("steps", "weigh", "rule", "first_of", 0, "when")
    examples = ("examples", "screen"), ({"score": 80, "hits": [{"score": 90, "name": "Ana"}]},)
    assert problems((near, "answers.screen.hits.exists(h, h.score * 1.5 > 100.0)"), examples) == []
    (mixed,) = problems((near, "answers.screen.hits.exists(h, h.score * 2 > 100)"), examples)
    assert "whole and broken numbers do not mix: double(n), 1.0" in mixed
