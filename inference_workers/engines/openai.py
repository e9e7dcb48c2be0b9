"""The engine elsewhere: any server that speaks OpenAI's HTTP API (vLLM on a GPU, or a vendor).

In and out: as in engine.py. A pool's file names its server (streams/pool_files.py); else it is that of inference.url.
Each version of a model is asked by the server's name for it: the `weights` of its card, which are the pool's for the
newest. Where inference.engine sends a pool of another engine there, that name is ours, `name@version` (vLLM:
--served-model-name takes several).
Guaranteed: a refusal of one request (4xx), and what is no answer of that API (a server that tells no usage, say), fails
it alone; a server that is away or busy is Unavailable, which heals; a slow one is waited for until the request's
deadline, since each question costs money, and is as good as away after inference.answer_s_max; a wrong key, a bill that
is not paid or a model it does not know is a ConfigError, since no request would ever succeed (a harmless one is asked
before that is believed: firewalls answer 403 to what a text says), which stops the process where that version serves
(answering.py).
Nothing that a server says about a request is repeated but a short code. Cancelling closes the connection, by which
such servers abort. Each lane has as many connections as its pool may have requests in flight, all versions together, so
that whoever waits never waits here for bulk work; waiting for one is no sign that the server is away. The version names
the server, since another one answers otherwise.
Not done: priorities within the server (the API has none), the server's own version and the engine time of a request (it
tells neither: prices by the engine second charge nothing here), times of tokens (answers are not streamed: to the first
one, and between two, only the engine vllm tells), what an answer cost that never came (cancelled, or cut
off by a server that goes away: it may be billed, and nobody says so).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import aiohttp
import numpy as np

from aios.inference_workers.engines.batch import METER, is_bulk
from aios.inference_workers.engines.engine import Embed, Embedding, Generate, Generation, RequestRefused, Structured
from aios.streams.config import secret
from aios.streams.errors import ConfigError, Unavailable

MISCONFIGURED = frozenset({401, 402, 403, 404})
BUSY = frozenset({408, 409, 425, 429})
CONNECT_S_MAX = 5.0
CHOICE = "choice"  # the property that a choice is put into
CODE = re.compile(r"[a-z0-9_.-]{1,64}")
HARMLESS: Mapping[str, dict[str, Any]] = {
    "embeddings": {"input": "hello"},
    "chat/completions": {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1},
}
"""By path: what no server has a reason to refuse."""


Calls = Mapping[bool, asyncio.Semaphore]
"""At once, by whether they are bulk."""


def at_once(calls_max: int) -> Calls:
    """As many of each lane."""
    return {bulk: asyncio.Semaphore(calls_max) for bulk in (False, True)}


class OpenAIEngine:
    """One model of one server, by its name there. api_key: by reference. calls: of all that this process asks there."""

    def __init__(self, model: str, *, url: str, api_key: str, answer_s_max: float, calls: Calls) -> None:
        self._model = model
        self._url = url.rstrip("/")
        self._key = secret(api_key)
        self._timeout = aiohttp.ClientTimeout(total=answer_s_max, sock_connect=CONNECT_S_MAX)
        self._calls = calls
        self._closed = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    @property
    def version(self) -> str:
        server = urlsplit(self._url)
        return f"openai {server.netloc.rpartition('@')[2]}{server.path}"

    @property
    def tokens_max(self) -> int:
        return 0  # the server knows

    async def start(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        connector = aiohttp.TCPConnector(limit=0)  # bounded by lane, before a call's time begins
        self._session = aiohttp.ClientSession(headers=headers, timeout=self._timeout, connector=connector)

    async def embed(self, request: Embed) -> Embedding:
        body = {"input": request.text, "encoding_format": "float"}
        answer = await self._post("embeddings", body, bulk=is_bulk(request.priority))
        with self._reading():
            _charge(answer["usage"])
            vector = np.asarray(answer["data"][0]["embedding"], np.float64)
            if not np.isfinite(vector).all():
                raise ValueError("a vector that is not finite")
            return Embedding(vector=vector.tolist(), prompt_tokens=answer["usage"]["prompt_tokens"])

    async def generate(self, request: Generate) -> Generation:
        body: dict[str, Any] = {
            "messages": [{"role": role, "content": content} for role, content in request.messages],
            "max_tokens": request.tokens_max,
            "temperature": request.temperature,
        }
        if request.seed:
            body["seed"] = request.seed
        if request.structured is not None:
            body["response_format"] = _response_format(request.structured)
        answer = await self._post("chat/completions", body, bulk=is_bulk(request.priority))
        with self._reading():
            _charge(answer["usage"])
            best = answer["choices"][0]
            said = (best["message"].get("content") or "").encode("utf-8", "replace").decode()  # half a character
            return Generation(
                text=_chosen(said) if request.structured is not None and request.structured.choices else said,
                finish_reason=best["finish_reason"] or "",
                prompt_tokens=answer["usage"]["prompt_tokens"],
                output_tokens=answer["usage"]["completion_tokens"],
            )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Raises RequestRefused for what is no answer of the API: asked again, it would be billed again."""
        try:
            yield
        except KeyError as error:
            raise RequestRefused(f"{self._url} gives no answer of OpenAI's API: there is no {error}") from error
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RequestRefused(f"{self._url} gives no answer of OpenAI's API: {type(error).__name__}") from error

    async def watch(self) -> NoReturn:
        """A server's death is its own; each request learns of it as Unavailable."""
        await self._closed.wait()
        raise asyncio.CancelledError

    async def close(self) -> None:
        self._closed.set()
        if self._session is not None:
            await self._session.close()

    async def _post(self, path: str, body: dict[str, Any], *, bulk: bool) -> Any:
        async with self._calls[bulk]:
            status, said = await self._send(path, body)
            if status < 400:
                return said
            if status in MISCONFIGURED:
                await self._check_settings(path)
        raise RequestRefused(f"{self._url} answers {status} {_code(said)}".rstrip())

    async def _check_settings(self, path: str) -> None:
        """Raises ConfigError if the server refuses whatever it is asked; else it refused what one text says."""
        status, said = await self._send(path, HARMLESS[path])
        if status in MISCONFIGURED:
            raise ConfigError(f"{self._url} answers {status} {_code(said)} for model {self._model}")
        if status >= 400:
            raise Unavailable(f"{self._url} answers {status}")

    async def _send(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON. Raises Unavailable."""
        if self._session is None:
            raise Unavailable(f"{self._url} is not asked before start()")
        try:
            async with self._session.post(f"{self._url}/{path}", json={"model": self._model, **body}) as response:
                if response.status >= 400:
                    status, said = response.status, await response.text(errors="replace")
                else:
                    said = await response.json()
                    status = _status(said) or response.status
                if status in BUSY or status >= 500:
                    raise Unavailable(f"{self._url} answers {status}")
                return status, said
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(f"{self._url}: {type(error).__name__}") from error


def _status(said: Any) -> int:
    """Of an error that stands in a body, since gateways say 200 before they know; 0: there is none."""
    error = said.get("error") if isinstance(said, dict) else None
    if not error:
        return 0
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def _charge(tokens: Mapping[str, int]) -> None:
    """At once: what is asked for once more, or what it is part of fails, is billed all the same."""
    usage = METER.get()
    if usage is not None:
        usage.prompt_tokens += tokens["prompt_tokens"]
        usage.output_tokens += tokens.get("completion_tokens", 0)


def _response_format(wanted: Structured) -> dict[str, Any]:
    """As every such server takes it: a choice is an object of one property, since the API knows no bare choice."""
    schema = json.loads(wanted.schema) if wanted.schema else _choice_of(wanted.choices)
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _choice_of(choices: tuple[str, ...]) -> dict[str, Any]:
    inner = {CHOICE: {"type": "string", "enum": list(choices)}}
    return {"type": "object", "properties": inner, "required": [CHOICE], "additionalProperties": False}


def _chosen(said: str) -> str:
    """The choice in such an object; anything else as it is, for whoever reads answers strictly."""
    try:
        return str(json.loads(said)[CHOICE])
    except (ValueError, KeyError, TypeError):
        return said


def _code(said: Any) -> str:
    """The short word for an error, if the server has one: its sentences may quote the text, or the key."""
    try:
        code = json.loads(said)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return ""
    return code if isinstance(code, str) and CODE.fullmatch(code) else ""
