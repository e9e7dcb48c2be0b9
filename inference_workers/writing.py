"""The task `generate`: a text, and a prompt, to a text, an object or a choice.

In: one InferenceRequested that names a prompt. Out: an Answer by the prompt's contract. Guaranteed: what can never be
answered (unknown prompt, another model's, wrong options, a text of too few words) raises RequestRefused before a token
is spent; the engine is held to the prompt's shape, and its words are read strictly all the same; words that are no
answer are asked for again once, with what was wrong, and are then a failure that says why and what it cost, so that the
workflow's on_error runs and a person gets it. A long text is read in pieces at the same time, merged by the prompt's
rule (streams/prompt_files.py); what was not read is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aios.inference_workers import chunks, guard, prompt
from aios.inference_workers.engines.engine import Engine, Generate, RequestRefused
from aios.inference_workers.engines.shelf import Shelf
from aios.inference_workers.tasks import WRITER, Answer, Task, each_version, options, together
from aios.schemas.models import InferenceRequested
from aios.streams import model_files, prompt_files
from aios.streams.errors import ConfigError
from aios.streams.prompt_files import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What one piece gave. failure: why there is no value, empty if there is one."""

    value: Any
    failure: str
    rendered: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    repaired: bool


class Write:
    """See the module. options.tokens_max may ask for less than the prompt allows."""

    serves: tuple[str, ...] = ("generate",)

    def __init__(self, engine: Engine, model: str = WRITER) -> None:
        self.model = model
        self.models: Mapping[str, str] = {model: model_files.digest(model)}
        self._engine = engine

    async def answer(self, request: InferenceRequested, priority: int) -> Answer:
        chosen, tokens_max = self._chosen(request)
        bounds = chosen.input
        pieces = chunks.cut(
            request.input,
            words_max=bounds.words_max,
            overlap_words=bounds.overlap_words,
            chunks_max=bounds.chunks_max,
        )
        if pieces.words < bounds.words_min:
            raise RequestRefused(
                f"the text has {pieces.words} words; {chosen.reference} reads {bounds.words_min} at least"
            )
        if guard.refuses(chosen.guard, request.input):
            raise RequestRefused(f"the text holds what {chosen.reference} must not read (guard.never_read)")
        said = await together(self._ask(chosen, each, tokens_max, priority) for each in pieces.texts)
        failure = next((one.failure for one in said if one.failure), "")
        found, unread = None, pieces.unread
        if bounds.merge == "again" and len(said) > 1 and not failure:
            joined = chunks.cut(str(prompt.merged(chosen, [one.value for one in said])), words_max=bounds.words_max)
            said.append(await self._ask(chosen, joined.texts[0], tokens_max, priority))
            found, failure, unread = said[-1].value, said[-1].failure, unread + joined.unread
        elif not failure:
            try:
                found = prompt.whole(chosen, request.input, [one.value for one in said])
            except prompt.Unusable as error:
                failure = str(error)
        return Answer(
            output={} if failure else prompt.output(chosen, found) | _about(said, len(pieces.texts), unread),
            contract=chosen.contract,
            failure=failure,
            rendered="\n".join(one.rendered for one in said),
            prompt_tokens=sum(one.prompt_tokens for one in said),
            output_tokens=sum(one.output_tokens for one in said),
            seed=chosen.sampling.seed,
        )

    def _chosen(self, request: InferenceRequested) -> tuple[Prompt, int]:
        """The prompt, and how many tokens an answer may have. Raises RequestRefused."""
        try:
            chosen = prompt_files.load(request.prompt)
        except ConfigError as error:
            raise RequestRefused(str(error)) from error
        if not chosen.made_for(request.model):
            raise RequestRefused(f"prompt {request.prompt} is made for {', '.join(chosen.models)}, not {request.model}")
        wanted = options(request, {"tokens_max"}).get("tokens_max", chosen.sampling.tokens_max)
        if type(wanted) is not int or not 1 <= wanted <= chosen.sampling.tokens_max:
            raise RequestRefused(f"tokens_max must be 1..{chosen.sampling.tokens_max}")
        return chosen, wanted

    async def _ask(self, chosen: Prompt, piece: str, tokens_max: int, priority: int) -> _Said:
        """One piece: asked, and once more if what came back is no answer."""
        conversation = prompt.render(chosen, piece)
        first = await self._generate(chosen, conversation, piece, tokens_max, priority)
        if not first.failure:
            return first
        again = prompt.repair(conversation, first.value, first.failure)
        try:
            second = await self._generate(chosen, again, piece, tokens_max, priority)
        except RequestRefused:  # with both, the conversation is too long for the model
            return first
        return _Said(
            value=second.value,
            failure=second.failure,
            rendered=second.rendered,
            finish_reason=second.finish_reason,
            prompt_tokens=first.prompt_tokens + second.prompt_tokens,
            output_tokens=first.output_tokens + second.output_tokens,
            repaired=True,
        )

    async def _generate(
        self, chosen: Prompt, conversation: prompt.Conversation, piece: str, tokens_max: int, priority: int
    ) -> _Said:
        """Where there is a failure, the value is what the model said. Raises RequestRefused."""
        said = await self._engine.generate(
            Generate(
                messages=conversation,
                tokens_max=tokens_max,
                temperature=chosen.sampling.temperature,
                seed=chosen.sampling.seed,
                priority=priority,
                structured=prompt.structured(chosen),
            )
        )
        failure = ""
        try:
            value = prompt.value(chosen, piece, said.text, said.finish_reason)
        except prompt.Unusable as error:
            value, failure = said.text, str(error)
        return _Said(
            value=value,
            failure=failure,
            rendered="\n".join(f"{role}: {content}" for role, content in conversation),
            finish_reason=said.finish_reason,
            prompt_tokens=said.prompt_tokens,
            output_tokens=said.output_tokens,
            repaired=False,
        )


def _about(said: list[_Said], pieces: int, unread_words: int) -> dict[str, Any]:
    """Beside the value: how it came about. What is nothing is left out."""
    told = {
        "pieces": pieces if pieces > 1 else 0,
        "unread_words": unread_words,
        "repaired": sum(o.repaired for o in said),
    }
    return {"finish_reason": said[-1].finish_reason, **{name: count for name, count in told.items() if count}}


def writer(engines: Shelf, name: str) -> Task:
    """What a pool of the model of this name does, in each of its versions."""
    return each_version(engines, name, Write)
