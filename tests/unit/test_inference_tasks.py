"""Requests to prompts and options, and what a prompt's file must hold."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from aios.inference_workers import prompt
from aios.inference_workers.classify import Head
from aios.inference_workers.engines.batch import BULK_PRIORITY
from aios.inference_workers.engines.engine import Embed, Embedding, Generate, Generation, RequestRefused, Structured
from aios.inference_workers.engines.openai import OpenAIEngine, at_once
from aios.inference_workers.tasks import WRITER, Classify, EmbedText, together
from aios.inference_workers.writing import Write
from aios.schemas.models import InferenceRequested
from aios.streams import prompt_files
from aios.streams.errors import AiosError, ConfigError, Unavailable
from tests.fakes.engine import FakeEngine

GOOD = """\
---
name: summary
version: 1
model: summariser@1
task: generate
contract: generation.v1
sampling: {tokens_max: 8}
input: {words_max: 3}
---
# system
You read.

# user
Text: {input}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of prompts with summary@1 in it."""
    monkeypatch.setattr(prompt_files, "FOLDER", tmp_path)
    (tmp_path / "summary").mkdir()
    (tmp_path / "summary" / "1.md").write_text(GOOD)
    return tmp_path


def request(text: str = "a letter", **changed: Any) -> InferenceRequested:
    fields: dict[str, Any] = {
        "request_id": "r",
        "case_id": "c",
        "tenant": "demo",
        "workflow": "document.triage",
        "step": "summarise",
        "attempt": 1,
        "task": "generate",
        "model": WRITER,
        "prompt": "summary@1",
        "input": text,
        "options": "{}",
        "lane": "bulk",
        "deadline_at": 1,
        "requested_at": 1,
    }
    return InferenceRequested(**fields | changed)


def test_every_shipped_prompt_can_be_loaded() -> None:
    """Its file says its own name and version, and where the text goes."""
    assert prompt_files.known()
    for reference in prompt_files.known():
        assert prompt.render(prompt_files.load(reference), "hello")


@given(st.text(max_size=300))
def test_a_customer_s_text_stays_one_message(text: str) -> None:
    """Whatever it says: roles and number of messages are the prompt's own."""
    shipped = prompt_files.load("summary@1")
    rendered = prompt.render(shipped, text)
    assert [role for role, _ in rendered] == [message.role for message in shipped.messages]


def test_a_text_is_cut_where_the_prompt_says(folder: Path) -> None:
    """words_max words, as written; what was not read is said."""
    answer = asyncio.run(Write(FakeEngine()).answer(request("one  two\nthree four"), 0))
    assert answer.rendered == "system: You read.\nuser: Text: one  two\nthree"
    assert answer.output["unread_words"] == 1


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("word " * 300, {}),
        ("word " * 301, {"unread_words": 1}),
        ("XXXX " * 50 + "word " * 300, {}),  # what a publisher took out is no word
        ("long " * 100 + "word " * 250, {"unread_words": 50, "cut_pieces": 1}),
    ],
)
def test_a_label_and_a_vector_say_what_was_not_read(text: str, left_out: dict[str, int]) -> None:
    """Words behind the last piece, and pieces of more tokens than the encoder takes."""

    class Reads(FakeEngine):
        async def embed(self, request: Embed) -> Embedding:
            return Embedding(vector=[1.0, 0.0], prompt_tokens=5, is_cut=request.text.startswith("long"))

    head = Head(("a", "b"), np.ones((2, 2), np.float32), np.zeros(2, np.float32), 1.0, np.zeros(2, np.float32), 0.0)
    classified = Classify(Reads(), {"letters": head}).answer(request(text, options='{"head":"letters"}'), 0)
    embedded = EmbedText(Reads()).answer(request(text, task="embed"), 0)
    for answer in (asyncio.run(classified), asyncio.run(embedded)):
        said = {name: answer.output[name] for name in ("unread_words", "cut_pieces") if name in answer.output}
        assert said == left_out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("name: summary", "name: other"), "says it is other@1"),
        (("{input}", "nothing"), "no message contains"),
        (("task: generate", "task: generate\ncolour: red"), "colour"),
        (("tokens_max: 8", "tokens_max: 0"), "tokens_max"),
        (("name: summary", "name: [summary"), "1.md"),
        (("# system", "Hello.\n# system"), "above the first message"),
        (("---\n", "--\n"), "front matter"),
        (("contract: generation.v1", "contract: object.v1"), "output.schema"),
        (("words_max: 3", "words_max: 3, chunks_max: 2, merge: vote"), "merges by"),
        (("words_max: 3", "words_max: 3, chunks_max: 2"), "chunks_max 1"),
        (("words_max: 3", "words_max: 3, overlap_words: 2"), "half of words_max"),
    ],
)
def test_a_wrong_prompt_file_is_refused_with_its_name(folder: Path, change: tuple[str, str], says: str) -> None:
    """Strictly: no unknown key, no missing placeholder, no other name."""
    (folder / "summary" / "1.md").write_text(GOOD.replace(*change))
    with pytest.raises(ConfigError, match=says):
        prompt_files.load("summary@1")


@pytest.mark.parametrize("reference", ["", "summary", "summary@2", "../summary@1", "summary@1/../../x", "Summary@1"])
def test_a_prompt_that_is_not_there_is_refused(folder: Path, reference: str) -> None:
    """And never looked for outside of its folder."""
    with pytest.raises(ConfigError, match="there is no prompt"):
        prompt_files.load(reference)


@pytest.mark.parametrize(
    ("text", "tidy"),
    [
        ('  "The customer wants a refund."  ', "The customer wants a refund."),
        ("He pays. He wants his mon", "He pays."),
        ("He wants his mon", "He wants his mon"),
        ("Refund of $1.50 wanted.\nNow", "Refund of $1.50 wanted."),
    ],
)
def test_a_small_model_s_answer_is_made_tidy(text: str, tidy: str) -> None:
    """No quotes around it, no sentence cut in half, one line."""
    assert prompt.tidy(text) == tidy


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"prompt": "nothing@1"}, "there is no prompt"),
        ({"options": '{"tokens_max": 0}'}, "1..48"),
        ({"options": '{"tokens_max": 49}'}, "1..48"),
        ({"options": '{"tokens_max": true}'}, "1..48"),
        ({"options": '{"temperature": 2}'}, "no other keys"),
        ({"options": "{"}, "not JSON"),
    ],
)
def test_what_a_request_may_not_ask_is_refused_before_a_token(changed: dict[str, str], says: str) -> None:
    """RequestRefused says what is allowed."""
    engine = FakeEngine()
    with pytest.raises(RequestRefused, match=says):
        asyncio.run(Write(engine).answer(request(**changed), 0))
    assert not engine.asked


def test_an_answer_says_what_the_model_read() -> None:
    """The rendered conversation, for the hash of the input, and what it cost."""
    answer = asyncio.run(Write(FakeEngine()).answer(request("Where is my card?"), 3))
    assert "Where is my card?" in answer.rendered
    assert (answer.contract, answer.prompt_tokens, answer.output_tokens) == ("generation.v1", 5, 3)


# ── the engine elsewhere ─────────────────────────────────────────────────────────────────────────────


def elsewhere(url: str, model: str = "m@1", *, calls_max: int = 64) -> OpenAIEngine:
    return OpenAIEngine(model, url=url, api_key="", answer_s_max=60, calls=at_once(calls_max))


async def _ask(status: int, body: object, call: Embed | Generate) -> tuple[object, dict[str, Any]]:
    """What an OpenAI-compatible server that answers this makes of a call, and what it was asked."""
    heard: dict[str, Any] = {}

    async def answer(said: web.Request) -> web.Response:
        asked = await said.json()
        heard.update(path=said.path, key=said.headers.get("Authorization"), **asked)
        if isinstance(body, bytes):
            return web.Response(body=body, content_type="application/json", status=status)
        if status == 403 and asked.get("input") == "hello":
            return web.json_response({})
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_post("/v1/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    engine = elsewhere(f"http://127.0.0.1:{port}/v1/")
    await engine.start()
    try:
        return await (engine.embed(call) if isinstance(call, Embed) else engine.generate(call)), heard
    finally:
        await engine.close()
        await runner.cleanup()


def test_a_server_elsewhere_answers_in_openai_s_words() -> None:
    """Embeddings and chat completions, under our model's name."""
    vector = {"data": [{"embedding": [0.5, 0.5]}], "usage": {"prompt_tokens": 4}}
    embedding, heard = asyncio.run(_ask(200, vector, Embed(text="hi")))
    assert isinstance(embedding, Embedding)
    assert embedding.vector == [0.5, 0.5]
    assert (heard["path"], heard["model"], heard["input"]) == ("/v1/embeddings", "m@1", "hi")
    said = {
        "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    written, heard = asyncio.run(_ask(200, said, Generate(messages=[("user", "Well?")], tokens_max=5)))
    assert isinstance(written, Generation)
    assert (written.text, written.output_tokens) == ("Yes.", 2)
    assert heard["messages"] == [{"role": "user", "content": "Well?"}]


def test_a_server_elsewhere_is_held_to_a_shape_or_a_choice() -> None:
    """By response_format, which every such server knows; a choice comes back without its wrapping."""

    def said(content: str) -> dict[str, Any]:
        return {
            "choices": [{"message": {"content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        }

    hello = [("user", "Well?")]
    choice = Generate(messages=hello, tokens_max=5, structured=Structured(choices=("card", "loan")))
    written, heard = asyncio.run(_ask(200, said('{"choice": "loan"}'), choice))
    assert isinstance(written, Generation)
    assert written.text == "loan"
    assert heard["response_format"]["json_schema"]["schema"]["properties"]["choice"]["enum"] == ["card", "loan"]
    shape = {"type": "object", "properties": {"a": {"type": "boolean"}}}
    held = Generate(messages=hello, tokens_max=5, structured=Structured(schema=json.dumps(shape)))
    written, heard = asyncio.run(_ask(200, said('{"a": true}'), held))
    assert isinstance(written, Generation)
    assert written.text == '{"a": true}'
    assert heard["response_format"]["json_schema"]["schema"] == shape
    unheld, _ = asyncio.run(_ask(200, said("I choose the loan."), choice))
    assert isinstance(unheld, Generation)
    assert unheld.text == "I choose the loan."  # read strictly by whoever asked


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RequestRefused),
        (422, RequestRefused),
        (403, RequestRefused),  # of this text; another one is answered
        (401, ConfigError),
        (402, ConfigError),
        (404, ConfigError),
        (429, Unavailable),
        (503, Unavailable),
    ],
)
def test_a_server_s_refusals_mean_what_they_say(status: int, error: type[Exception]) -> None:
    """The request's fault, our settings' fault, or nobody's: only the last heals."""
    with pytest.raises(error):
        asyncio.run(_ask(status, {"error": "no"}, Embed(text="hi")))


@pytest.mark.parametrize("status", [400, 401])
def test_a_server_s_words_are_not_repeated(status: int) -> None:
    """They may quote the text, or the key; what is kept travels to the audit. A code says enough."""
    said = {"error": {"message": "cannot read 'my secret'", "code": "content_filter"}}
    with pytest.raises(AiosError, match=f"answers {status} content_filter") as caught:
        asyncio.run(_ask(status, said, Embed(text="my secret")))
    assert "secret" not in str(caught.value)


USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
WRITES = Generate(messages=[("user", "Well?")], tokens_max=5)


def _said(content: object) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content}, "finish_reason": None}], "usage": USAGE}


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ({"data": [{"embedding": [0.5]}]}, Embed(text="hi")),
        ({"data": [{"embedding": [0.5]}], "usage": None}, Embed(text="hi")),
        ({"data": [], "usage": USAGE}, Embed(text="hi")),
        (b'{"data": [{"embedding": [NaN]}], "usage": {"prompt_tokens": 1}}', Embed(text="hi")),
        ({"choices": [], "usage": USAGE}, WRITES),
        (_said([{"type": "text", "text": "Yes."}]), WRITES),
        (["no"], WRITES),
    ],
)
def test_what_is_no_answer_of_the_api_fails_its_request_alone(body: object, call: Embed | Generate) -> None:
    """It would be billed once more with each try, and come back the same."""
    with pytest.raises(RequestRefused, match="no answer of OpenAI's API"):
        asyncio.run(_ask(200, body, call))


@pytest.mark.parametrize(
    ("code", "error"), [(429, Unavailable), (None, Unavailable), ("overloaded", Unavailable), (400, RequestRefused)]
)
def test_an_error_that_comes_with_a_200_is_one(code: object, error: type[Exception]) -> None:
    """Gateways begin to answer before they know what comes."""
    with pytest.raises(error):
        asyncio.run(_ask(200, {"error": {"message": "no", "code": code}}, WRITES))


def test_a_refusal_in_any_letters_is_one() -> None:
    """A firewall's page, say: what it is written in makes no server that is away of one that refuses."""
    with pytest.raises(RequestRefused, match="answers 400"):
        asyncio.run(_ask(400, "Größe".encode("latin-1"), WRITES))


@pytest.mark.parametrize(("content", "text"), [(None, ""), ("Yes \ud83d", "Yes ?")])
def test_words_of_a_server_can_be_written_down(content: str | None, text: str) -> None:
    """Without any, and where an emoji was cut in half."""
    written, _ = asyncio.run(_ask(200, _said(content), WRITES))
    assert isinstance(written, Generation)
    assert (written.text, written.finish_reason) == (text, "")


def test_a_page_instead_of_an_answer_is_unavailable() -> None:
    """A proxy's word for a server that is away."""
    with pytest.raises(Unavailable):
        asyncio.run(_ask(200, b"<html>", Embed(text="hi")))


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """Nothing listens on port 1."""

    async def ask() -> None:
        engine = elsewhere("http://127.0.0.1:1/v1")
        await engine.start()
        try:
            await engine.embed(Embed(text="hi"))
        finally:
            await engine.close()

    with pytest.raises(Unavailable):
        asyncio.run(ask())


def test_whoever_waits_does_not_wait_for_bulk_work_on_its_way_to_a_server() -> None:
    """The server holds every bulk call until an interactive one is answered: it is, though more bulk calls wait than
    there may be at once; those are answered afterwards, and none of them takes the server for away.
    """
    most, asked = 120, 150
    seen = {"together": 0, "bulk": 0}

    async def work() -> list[Embedding]:
        answered, full = asyncio.Event(), asyncio.Event()

        async def answer(said: web.Request) -> web.Response:
            if (await said.json())["input"] == "bulk":
                seen["bulk"] += 1
                seen["together"] = max(seen["together"], seen["bulk"])
                if seen["bulk"] == most:
                    full.set()
                await answered.wait()
                seen["bulk"] -= 1
            return web.json_response({"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 1}})

        app = web.Application()
        app.router.add_post("/v1/embeddings", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        engine = elsewhere(url, calls_max=most)
        await engine.start()
        try:
            bulk = [
                asyncio.ensure_future(engine.embed(Embed(text="bulk", priority=BULK_PRIORITY))) for _ in range(asked)
            ]
            await asyncio.wait_for(full.wait(), 20)
            await asyncio.wait_for(engine.embed(Embed(text="I wait")), 20)
            answered.set()
            return await asyncio.gather(*bulk)
        finally:
            await engine.close()
            await runner.cleanup()

    assert len(asyncio.run(work())) == asked
    assert seen["together"] == most


def test_an_answer_from_elsewhere_says_from_where() -> None:
    """The server, so that another one's answers are not taken for its; no password of its address. The model that
    answers is named by the answer itself.
    """
    assert elsewhere("http://gpu-1:8000/v1/").version == "openai gpu-1:8000/v1"
    assert elsewhere("https://me:secret@api.example.org/v1").version == "openai api.example.org/v1"


def test_when_one_piece_fails_nobody_works_on_the_others() -> None:
    """They leave the engine in that moment, not when they are done."""
    left: list[bool] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            left.append(True)
            raise

    async def fails() -> None:
        await asyncio.sleep(0)
        raise RequestRefused("too long")

    async def test() -> None:
        with pytest.raises(RequestRefused, match="too long"):
            await together([waits(), fails(), waits()])
        await asyncio.sleep(0)
        assert left == [True, True]

    asyncio.run(test())
