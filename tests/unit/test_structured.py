"""Shapes, pieces of long texts, guards, and what becomes of words that are no answer."""

from __future__ import annotations

import asyncio
import json
import re
import time
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.inference_workers import chunks, guard, prompt
from aios.inference_workers.engines.engine import Embed, Embedding, Generate, Generation, RequestRefused
from aios.inference_workers.tasks import Answer, encoder
from aios.inference_workers.writing import Write
from aios.processors.language import answers
from aios.schemas import ids
from aios.schemas.models import InferenceRequested
from aios.streams import prompt_files, shapes
from aios.streams.expression import Expression
from aios.streams.prompt_files import Guard
from aios.streams.shapes import ShapeRefused
from tests.fakes.engine import FakeEngine, shelf_of

SHIPPED = prompt_files.FOLDER
FACTS = """\
---
name: facts
version: 1
model: summariser
task: generate
contract: object.v1
sampling: {tokens_max: 64}
input: {words_max: 4, words_min: 1, overlap_words: 1, chunks_max: 3, merge: fill}
output:
  schema:
    type: object
    properties:
      wants: {type: string, maxLength: 20}
      urgent: {type: boolean}
      names: {type: array, maxItems: 3, items: {type: string, maxLength: 10}}
---
# user
{input}
"""
TOPIC = (
    FACTS.split("contract:", maxsplit=1)[0].replace("facts", "topic")
    + """\
contract: choice.v1
sampling: {tokens_max: 8}
input: {words_max: 4, chunks_max: 3, merge: vote}
output: {choices: [card, loan]}
---
# user
{input}
"""
)
GUARDED = (
    FACTS.split("contract:", maxsplit=1)[0].replace("facts", "guarded")
    + """\
contract: generation.v1
sampling: {tokens_max: 8}
input: {words_max: 50}
guard: {numbers_from_input: true, personal_data: mask}
---
# user
{input}
"""
)
JOINED = GUARDED.replace("guarded", "joined").replace(
    "input: {words_max: 50}\nguard: {numbers_from_input: true, personal_data: mask}",
    "input: {words_max: 4, chunks_max: 3, merge: join}\nguard: {words_max: 3, personal_data: mask, never: [pay now]}",
)
AGAIN = JOINED.replace("joined", "again").replace("merge: join", "merge: again")


class Scripted(FakeEngine):
    """Says one thing after the other, and keeps what it was asked."""

    def __init__(self, *said: str, finish_reason: str = "stop") -> None:
        super().__init__()
        self._said = list(said)
        self._finish_reason = finish_reason
        self.requests: list[Generate] = []

    async def generate(self, request: Generate) -> Generation:
        self.requests.append(request)
        said = self._said.pop(0)
        return Generation(text=said, finish_reason=self._finish_reason, prompt_tokens=5, output_tokens=3)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_files, "FOLDER", tmp_path)
    for name, text in {"facts": FACTS, "topic": TOPIC, "guarded": GUARDED, "joined": JOINED, "again": AGAIN}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.md").write_text(text)


def asked(engine: FakeEngine, name: str, text: str) -> Answer:
    request = InferenceRequested(
        request_id="r",
        case_id="c",
        tenant="demo",
        workflow="document.triage",
        step="s",
        attempt=1,
        task="generate",
        model="summariser@7",
        prompt=f"{name}@1",
        input=text,
        options="{}",
        lane="bulk",
        deadline_at=1,
        requested_at=1,
    )
    return asyncio.run(Write(engine, "summariser@7").answer(request, 0))


# ── shapes ──

LEAVES = st.one_of(
    st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(1, 50)),
    st.builds(lambda v: {"type": "string", "enum": v}, st.lists(st.text(max_size=5), min_size=1, max_size=3)),
    st.builds(
        lambda a, b: {"type": "integer", "minimum": min(a, b), "maximum": max(a, b)}, st.integers(), st.integers()
    ),
    st.just({"type": "boolean"}),
    st.just({"type": "number"}),
)
INNER = st.recursive(
    LEAVES,
    lambda inner: st.builds(lambda i, n: {"type": "array", "items": i, "maxItems": n}, inner, st.integers(1, 4)),
    max_leaves=3,
)
SCHEMAS = st.dictionaries(st.text(min_size=1, max_size=5), INNER, min_size=1, max_size=4).map(
    lambda properties: {"type": "object", "properties": properties}
)


@given(SCHEMAS)
def test_every_shape_has_an_example_that_fits(schema: dict[str, Any]) -> None:
    """Also after a trip through JSON, which is what an engine answers with."""
    whole = shapes.complete(schema)
    assert shapes.problems(whole, json.loads(json.dumps(shapes.example(whole)))) == []


@given(SCHEMAS, st.recursive(st.none() | st.booleans() | st.text(), lambda each: st.lists(each, max_size=2)))
def test_what_is_no_object_or_lacks_a_property_never_fits(schema: dict[str, Any], other: Any) -> None:
    """Whatever else it is."""
    whole = shapes.complete(schema)
    assert shapes.problems(whole, other)
    fits = shapes.example(whole)
    assert shapes.problems(whole, fits | {"never asked for": 1})
    fits.pop(next(iter(fits)))
    assert shapes.problems(whole, fits)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "string", "maxLength": 4}, "outermost"),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, "maxLength"),
        ({"type": "object", "properties": {"a": {"type": "string", "maxLength": 4, "pattern": "x"}}}, "not enforced"),
        ({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "boolean"}}}}, "maxItems"),
        ({"type": "object", "properties": {}}, "properties"),
        ({"type": "object", "properties": {1: {"type": "boolean"}}}, "in quotes"),
        ({"type": "object", "properties": {"a": {"type": "integer", "enum": ["x"]}}}, "no integer"),
        ({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["b"]}, "required"),
    ],
)
def test_a_shape_without_bounds_is_refused(schema: dict[str, Any], says: str) -> None:
    """And so is a keyword that nobody would enforce."""
    with pytest.raises(ShapeRefused, match=says):
        shapes.complete(schema)


@pytest.mark.parametrize(
    ("inner", "says"),
    [
        ({"type": "number", "minimum": "0"}, "minimum is no number"),
        ({"type": "integer", "maximum": None}, "maximum is no integer"),
        ({"type": "integer", "minimum": True}, "minimum is no integer"),
        ({"type": "number", "minimum": float("nan")}, "minimum is no number"),
        ({"type": "integer", "minimum": 5, "maximum": 1}, "nothing fits"),
        ({"type": "string", "maxLength": 4, "minLength": "1"}, "minLength is a whole number"),
        ({"type": "string", "maxLength": 4, "minLength": 5}, "minLength is a whole number"),
        ({"type": "array", "items": {"type": "boolean"}, "maxItems": 2, "minItems": 3}, "minItems is a whole number"),
    ],
)
def test_a_bound_that_nothing_can_be_held_against_is_refused(inner: dict[str, Any], says: str) -> None:
    """In quotes by mistake, it would be an error of ours at each answer, in the middle of a case."""
    with pytest.raises(ShapeRefused, match=says):
        shapes.complete({"type": "object", "properties": {"a": inner}})


def test_a_value_that_does_not_fit_is_told_by_its_place_alone() -> None:
    """The words go to the model and the audit: what somebody wrote is not in them."""
    whole = shapes.complete({"type": "object", "properties": {"a": {"type": "string", "maxLength": 2}}})
    assert shapes.problems(whole, {"a": "secret"}) == ["answer.a has 6 characters, not 0 to 2"]


# ── pieces ──


@given(st.lists(st.text("abc", min_size=1, max_size=3), max_size=60), st.integers(1, 9), st.data())
def test_no_word_is_left_out_and_cuts_overlap(words: list[str], words_max: int, data: st.DataObject) -> None:
    """Up to the last piece; every piece but the first begins with the end of the one before."""
    overlap = data.draw(st.integers(0, words_max // 2))
    chunks_max = data.draw(st.integers(1, 9))
    found = chunks.cut("  ".join(words), words_max=words_max, overlap_words=overlap, chunks_max=chunks_max)
    pieces = [piece.split() for piece in found.texts]
    assert 1 <= len(pieces) <= chunks_max
    assert all(len(piece) <= words_max for piece in pieces)
    read = list(pieces[0])
    for before, piece in pairwise(pieces):
        assert piece[:overlap] == before[len(before) - overlap :]
        assert len(piece) > overlap
        read += piece[overlap:]
    assert read == words[: found.read]
    assert (found.words, found.unread) == (len(words), len(words) - len(read))
    assert found.unread == 0 or len(pieces) == chunks_max


# ── answers ──


def test_an_object_of_a_long_text_is_filled_from_its_pieces() -> None:
    """Each property from the first piece that has it, lists united, within the schema's bounds."""
    first = {"wants": "", "urgent": False, "names": ["Ann"]}
    second = {"wants": "a refund", "urgent": True, "names": ["Bea", "Ann"]}
    engine = Scripted(json.dumps(first), json.dumps(second))
    answer = asked(engine, "facts", "one two three four five six")
    assert answer.output["object"] == {"wants": "a refund", "urgent": False, "names": ["Ann", "Bea"]}
    assert [request.messages[-1][1] for request in engine.requests] == ["one two three four", "four five six"]
    assert (answer.output["pieces"], answer.prompt_tokens) == (2, 10)
    assert engine.requests[0].structured is not None
    assert json.loads(engine.requests[0].structured.schema)["additionalProperties"] is False
    said = answers.read("generate", answer.contract, ids.canonical(answer.output), "facts@1")
    assert said == {"object": answer.output["object"]}
    assert answers.shown(said) == {}


def test_a_choice_of_a_long_text_is_what_most_pieces_say() -> None:
    """And of as many, what was said first."""
    assert asked(Scripted("loan", "card", "card"), "topic", "a b c d e f g h i").output["choice"] == "card"
    assert asked(Scripted("loan", "card"), "topic", "a b c d e f").output["choice"] == "loan"


def test_pieces_that_keep_the_guard_each_keep_it_together_too() -> None:
    """What stands at a seam, and the length of the whole, are the answer's; of a text read again, the last one's."""
    long = "a b c d e f"
    assert asked(Scripted("We pay", "now."), "joined", long).failure == "the answer holds what it must never hold"
    assert asked(Scripted("One two.", "Three four."), "joined", long).failure == "the answer has more than 3 words"
    assert asked(Scripted("Call 1234", "56789."), "joined", long).output["text"] == "Call [removed]."
    assert asked(Scripted("We pay", "now.", "Paid."), "again", long).output["text"] == "Paid."


def test_what_the_second_reading_has_no_room_for_is_told() -> None:
    """The pieces' texts may be longer than what is read at once."""
    answer = asked(Scripted("One two three.", "Four five six.", "Short."), "again", "a b c d e f")
    assert (answer.output["text"], answer.output["unread_words"]) == ("Short.", 2)


@pytest.mark.parametrize("odd", ["1e999", "NaN", '"\\ud83d"', "[" * 100_000])
def test_what_cannot_be_written_as_json_is_no_answer(odd: str) -> None:
    """It is asked for once more, like any other words that are none, and is then a failure of this request alone."""
    path = prompt_files.FOLDER / "facts" / "1.md"
    kind = "{type: string, maxLength: 20}" if "u" in odd else "{type: number}"
    path.write_text(path.read_text(encoding="utf-8").replace("{type: boolean}", kind), encoding="utf-8")
    engine = Scripted(*[f'{{"wants": "", "urgent": {odd}, "names": []}}'] * 2)
    assert asked(engine, "facts", "one two").failure
    assert len(engine.requests) == 2


def test_words_that_are_no_answer_are_asked_for_once_more() -> None:
    """With what was wrong; both requests are paid for, and the answer says so."""
    good = {"wants": "help", "urgent": True, "names": []}
    engine = Scripted('{"wants": 1}', json.dumps(good))
    answer = asked(engine, "facts", "one two")
    assert answer.output["object"] == good
    assert (answer.output["repaired"], answer.prompt_tokens, answer.output_tokens) == (1, 10, 6)
    roles = [role for role, _ in engine.requests[1].messages]
    assert roles == ["user", "assistant", "user"]
    assert "answer.wants is no string" in engine.requests[1].messages[-1][1]


def test_after_one_repair_it_is_a_failure_that_says_why() -> None:
    """No third request; the tokens are told, so that they are paid for; a person gets the case by on_error."""
    engine = Scripted("{", "{")
    answer = asked(engine, "facts", "one two")
    assert answer.failure == "the answer is no JSON"
    assert (answer.output, len(engine.requests), answer.prompt_tokens) == ({}, 2, 10)


def test_an_object_that_was_cut_off_is_no_answer() -> None:
    """Even if its beginning happens to be one."""
    engine = Scripted("{}", "{}", finish_reason="length")
    assert "cut off" in asked(engine, "facts", "one").failure


def topics(*choices: str) -> None:
    """What `topic` may choose."""
    path = prompt_files.FOLDER / "topic" / "1.md"
    path.write_text(path.read_text(encoding="utf-8").replace("[card, loan]", json.dumps(choices)), encoding="utf-8")


def test_a_choice_that_was_cut_off_is_not_taken_for_another_one() -> None:
    """It is asked for once more, then a failure; said to its end, or where no other one begins so, it counts."""
    topics("approve", "approve with conditions", "decline")
    engine = Scripted("approve", " approve\n", finish_reason="length")
    assert asked(engine, "topic", "one").failure == "the answer was cut off where another choice goes on"
    assert len(engine.requests) == 2
    assert asked(Scripted("approve"), "topic", "one").output["choice"] == "approve"
    for whole in ("approve with conditions", "decline"):
        assert asked(Scripted(whole, finish_reason="length"), "topic", "one").output["choice"] == whole


def test_a_text_of_too_few_words_costs_no_token() -> None:
    """An empty document is refused before the model is asked."""
    engine = Scripted()
    with pytest.raises(RequestRefused, match="0 words"):
        asked(engine, "facts", "  \n ")
    assert engine.requests == []


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ('{"choice": "fish"}', "choices"),
        ('{"text": "card"}', "Field required"),
        ('{"choice": ""}', "at least 1"),
    ],
)
def test_plan_believes_no_answer_that_its_prompt_does_not_allow(said: str, says: str) -> None:
    """A worker of another deploy is read as strictly as our own."""
    with pytest.raises(ValueError, match=says):
        answers.read("generate", "choice.v1", said, "topic@1")


def test_plan_does_not_take_one_contract_for_another() -> None:
    with pytest.raises(ValueError, match="topic@1 answers with"):
        answers.read("generate", "generation.v1", '{"text": "card"}', "topic@1")
    with pytest.raises(ValueError, match="classify answers with"):
        answers.read("classify", "generation.v1", '{"text": "card"}')


def test_a_workflow_is_checked_with_what_its_prompts_allow() -> None:
    """Every choice is a corner; an object is an example of its shape."""
    assert answers.samples("generate", "", "topic@1") == [{"choice": "card"}, {"choice": "loan"}]
    assert answers.samples("generate", "", "facts@1") == [
        {"object": {"wants": "example", "urgent": False, "names": ["example"]}}
    ]


def test_the_encoder_s_pool_embeds_too() -> None:
    """embedding.v1: one vector of length 1 for the whole text, read strictly; nothing is no text."""

    class Engine(FakeEngine):
        async def embed(self, request: Embed) -> Embedding:
            return Embedding(vector=[3.0, 4.0], prompt_tokens=2)

    request = InferenceRequested(
        request_id="r",
        case_id="c",
        tenant="demo",
        workflow="w.w",
        step="s",
        attempt=1,
        task="embed",
        model="triage-encoder@1",
        input="word " * 150,
        options="{}",
        lane="bulk",
        deadline_at=1,
        requested_at=1,
    )
    answer = asyncio.run(encoder(shelf_of(Engine()), "triage-encoder").answer(request, 0))
    assert answers.read("embed", answer.contract, ids.canonical(answer.output)) == {"vector": [0.6, 0.8]}
    assert (answer.output["pieces"], answer.prompt_tokens) == (2, 4)


# ── guards ──


def test_an_invented_number_fails_an_answer() -> None:
    """Written otherwise it is the same number; another one is not."""
    letter = "You charged $1,250.50 twice in 2019."
    assert not guard.breaks(Guard(numbers_from_input=True), letter, "Wants 1250.5 back.")
    assert "number" in guard.breaks(Guard(numbers_from_input=True), letter, "Wants $12 back.")
    assert asked(Scripted("Owes 7.", "Owes 7."), "guarded", "nothing").failure == (
        "the answer holds a number that the text does not hold"
    )


@pytest.mark.parametrize(
    "secret",
    ["ann.b@example.org", "4111 1111 1111 1111", "123-45-6789", "+1 (202) 555-0143", "DE89 3704 0044 0532 0130 00"],
)
def test_personal_data_is_masked(secret: str) -> None:
    """Or makes the answer unusable, as the prompt says; amounts and years are none."""
    assert guard.masked(Guard(personal_data="mask"), {"a": [f"It is {secret}."]}) == {"a": ["It is [removed]."]}
    assert guard.breaks(Guard(personal_data="refuse"), "", f"It is {secret}.")
    assert not guard.breaks(Guard(personal_data="refuse"), "", "Paid $1,234,567.89 in 2019 for 12 months.")


MASKED = FACTS.replace(
    "input: {words_max: 4, words_min: 1, overlap_words: 1, chunks_max: 3, merge: fill}",
    "input: {words_max: 50}\nguard: {personal_data: mask}",
).replace("urgent: {type: boolean}", "sum: {type: number}")


def masked(*said: dict[str, Any]) -> Answer:
    """Of an object whose personal data is masked."""
    (prompt_files.FOLDER / "facts" / "1.md").write_text(MASKED, encoding="utf-8")
    return asked(Scripted(*map(json.dumps, said)), "facts", "one two")


@pytest.mark.parametrize("account", [4111111111111111, 4111111111111111.0, -41111111])
def test_an_account_s_number_that_is_no_text_cannot_be_masked(account: float) -> None:
    """So it is asked for otherwise once, and is then no answer; other numbers, and yes and no, are left alone."""
    fine = {"wants": "", "sum": 1250.5, "names": []}
    assert masked(fine | {"sum": account}, fine).output["object"] == fine
    failure = masked(fine | {"sum": account}, fine | {"sum": account}).failure
    assert failure == "the answer holds personal data as a number, which cannot be masked"
    assert not guard.breaks(Guard(personal_data="mask"), "", {"a": [True, 1250.5, "4111 1111 1111 1111"]})
    assert not guard.breaks(Guard(personal_data="keep"), "", {"a": account})


def test_what_breaks_the_shape_once_it_is_masked_is_no_answer() -> None:
    """Plan would refuse what the worker called good; what fits is masked, and plan reads it."""
    long = {"wants": "Call 12345678 or 9876543", "sum": 1, "names": []}
    short = {"wants": "Call 12345678", "sum": 1, "names": ["12345678"]}
    answer = masked(short, short)
    assert answer.output["object"] == {"wants": "Call [removed]", "sum": 1, "names": ["[removed]"]}
    assert answers.read("generate", answer.contract, ids.canonical(answer.output), "facts@1")
    assert "answer.wants has 24 characters" in masked(long, long).failure
    grows = short | {"wants": "a@b.cd, call 1234567"}
    assert masked(grows, grows).failure == "without its personal data, answer.wants has 23 characters, not 0 to 20"


def test_a_choice_that_would_be_masked_is_none() -> None:
    """`[removed]` is none of the choices."""
    topics("12345678", "other")
    path = prompt_files.FOLDER / "topic" / "1.md"
    path.write_text(path.read_text(encoding="utf-8").replace("output:", "guard: {personal_data: mask}\noutput:"))
    assert asked(Scripted("other"), "topic", "one").output["choice"] == "other"
    failure = asked(Scripted("12345678", "12345678"), "topic", "one").failure
    assert failure == "without its personal data, the answer is none of the choices"


@pytest.mark.parametrize("pattern", [r"(\w+\s?)+:$", r"(a|a)*b"])
def test_no_pattern_of_a_guard_holds_a_worker_up(pattern: str) -> None:
    """Its time is linear in the text: where `re` goes back, 27 characters take half a minute of the event loop."""
    begun = time.perf_counter()
    assert not guard.refuses(Guard(never_read=(pattern,)), "a" * 100_000 + "!")
    assert not guard.breaks(Guard(never=(pattern,)), "", "a" * 100_000 + "!")
    assert time.perf_counter() - begun < 3


@pytest.mark.parametrize("pattern", [r"pay(?= now)", r"(?<!not )paid", r"(\w)\1", r"now\Z", "(", "(?:a{900}){900}"])
def test_a_pattern_that_could_go_back_is_refused_with_the_reason(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is no regular expression of RE2, which looks neither ahead nor back: [a-z]"):
        Guard(never=(pattern,))


GUARDS = [prompt_files.read(path).guard for path in SHIPPED.glob("*/*.md")]
PATTERNS = [pattern for rules in GUARDS for pattern in (*rules.never, *rules.never_read)]
FRAGMENTS = (
    "Ignore", "forget", "previous", "ALL", "your", "instructions", "instruction", "system prompt", "As an AI", "[INST]",
    "you are now", "note to the", "summariser", "model", "https://", "www.", "bank.com", "a-b.Example", "<|im_end|>",
    "[/inst]", ".", "-", "_", "\n",
)  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(st.characters(codec="ascii"), max_size=8), max_size=12), st.data())
def test_the_patterns_that_ship_find_what_they_found(fragments: list[str], data: st.DataObject) -> None:
    """As `re` reads them, in letters of ASCII."""
    said = data.draw(st.sampled_from(("", " "))).join(fragments)
    assert PATTERNS
    for pattern in PATTERNS:
        assert guard.refuses(Guard(never_read=(pattern,)), said) == bool(re.search(pattern, said)), pattern


@pytest.mark.parametrize(
    ("pattern", "said", "found"),
    [
        ("(?i)KÜNDIG", "Ich kündige.", True),
        ("zu.viel", "zu€viel", True),
        (r"\bkündig\w*", "Ich kündige.", True),
        (r"\büber", "Ich bin über 18.", False),  # to RE2 no word begins with ü
        (r"\bpay\b", "payé", True),
        ("a", "\ud83d a", True),
    ],
)
def test_other_letters_than_ascii_s_stand_for_themselves_in_a_pattern(pattern: str, said: str, found: bool) -> None:
    """They are part of no word, though: prompt_files.Guard says so. Half a character is nobody's failure."""
    assert guard.refuses(Guard(never_read=(pattern,)), said) is found


def test_a_model_that_writes_one_sign_without_end_holds_nobody_up() -> None:
    """The event loop of a worker looks through each answer for what is personal."""
    begun = time.perf_counter()
    assert not guard.breaks(Guard(personal_data="refuse"), "", "-" * 100_000)
    assert time.perf_counter() - begun < 3


def test_an_answer_about_something_else_fails() -> None:
    """By the share of its longer words that the text has."""
    letter = "The mortgage company raised my escrow payment without telling me."
    about = Guard(words_from_input_min=0.5)
    assert not guard.breaks(about, letter, "Wants the escrow payments of the mortgage explained.")
    assert guard.breaks(about, letter, "Assistants cannot provide financial advice regarding investments.")


@given(st.text(max_size=200), st.text(max_size=100))
def test_a_guard_s_reason_holds_nothing_of_the_answer(read: str, said: str) -> None:
    """It is shown in the audit."""
    strict = Guard(numbers_from_input=True, words_from_input_min=1.0, words_max=1, personal_data="refuse", never=("a",))
    assert guard.breaks(strict, read, said) in (
        "",
        "the answer holds a number that the text does not hold",
        "the answer has more than 1 words",
        "the answer is hardly about the text",
        "the answer holds personal data",
        "the answer holds what it must never hold",
    )


def test_a_repair_is_bounded() -> None:
    """Of a long wrong answer only the beginning is shown again."""
    told = prompt.repair((("user", "x"),), "y" * 5_000, "it is wrong")
    assert len(told[1][1]) == prompt.WRONG_CHARS_MAX


def test_a_number_that_a_model_writes_whole_is_computed_with_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = shapes.complete(
        {
            "type": "object",
            "properties": {
                "net": {"type": "number"},
                "vat": {"type": "array", "items": {"type": "number"}, "maxItems": 3},
                "pieces": {"type": "integer"},
            },
        }
    )
    prompt = SimpleNamespace(contract=prompt_files.OBJECT, shape=shape)
    monkeypatch.setattr(prompt_files, "load", lru_cache(lambda _reference: prompt))
    said = answers.read("generate", prompt_files.OBJECT, '{"object":{"net":100,"vat":[19.5,1],"pieces":2}}', "bill@1")
    total = Expression("answers.read.object.net + answers.read.object.vat[0] + answers.read.object.vat[1]")
    assert total.evaluate({"answers": {"read": said}}) == 120.5
    assert type(said["object"]["pieces"]) is int
    (sample,) = answers.samples("generate", "", "bill@1")
    assert type(sample["object"]["net"]) is float
