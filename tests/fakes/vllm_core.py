"""The process of an engine with a library of no model in vLLM's place, for tests of both ends of the channel.

Texts are lists of digits to it: a 4 is none that its tokenizer takes, a 5 ends the process by SIGSEGV, a 6 holds the
step up, a 7 stays until it is taken back, an 8 breaks the step, a 9 is refused; anything else is answered in the step
that follows.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from aios.inference_workers.engines import vllm_core
from aios.inference_workers.engines.channel import Loaded
from aios.streams.errors import ConfigError

HELD_S = 3600.0


class NoModel:
    """LLMEngine's three methods."""

    def __init__(self, core: vllm_core.Core) -> None:
        self._core = core
        self._asked: dict[str, list[int]] = {}

    def add_request(self, request_id: str, prompt: dict[str, list[int]], _parameters: object, *, priority: int) -> None:
        if 9 in prompt["prompt_token_ids"]:
            raise ValueError("too long")
        self._asked[request_id] = prompt["prompt_token_ids"]

    def step(self) -> list[Any]:
        self._core._stats = SimpleNamespace(
            num_running_reqs=len(self._asked), num_waiting_reqs=0, kv_cache_usage=0.0, prefix_cache_stats=None
        )
        if any(5 in tokens for tokens in self._asked.values()):
            os.kill(os.getpid(), signal.SIGSEGV)
        if any(6 in tokens for tokens in self._asked.values()):
            time.sleep(HELD_S)
        if any(8 in tokens for tokens in self._asked.values()):
            raise RuntimeError("out of memory")
        return [_output(name, self._asked.pop(name)) for name, tokens in list(self._asked.items()) if 7 not in tokens]

    def abort_request(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            del self._asked[request_id]


def _output(name: str, tokens: list[int]) -> Any:
    data = SimpleNamespace(float=lambda: SimpleNamespace(numpy=lambda: np.array([1.0], dtype=np.float32)))
    return SimpleNamespace(finished=True, request_id=name, prompt_token_ids=tokens, outputs=SimpleNamespace(data=data))


class TemplateError(Exception):
    """As jinja2's, which a model's template raises."""


def _encoded(text: str, **_: Any) -> list[int]:
    if "4" in text:
        raise TemplateError("it has no role of a system")
    return [int(c) for c in text if c.isdigit()]


def load(core: vllm_core.Core) -> Loaded:
    if core._order.model.name == "absent":
        raise OSError("no such model")
    if core._order.model.name == "large":
        raise ConfigError("set inference.kv_cache_mib lower")
    core._engine = NoModel(core)
    core._tokenizer = SimpleNamespace(encode=_encoded)
    return Loaded(version="none", tokens_max=0)


if __name__ == "__main__":
    library: Any = ModuleType("vllm")  # a module takes any name
    exceptions: Any = ModuleType("vllm.exceptions")
    library.PoolingParams = library.SamplingParams = lambda **_: None
    exceptions.VLLMClientError = type("VLLMClientError", (Exception,), {})
    sys.modules |= {"vllm": library, "vllm.exceptions": exceptions}
    vllm_core.Core.load = load  # type: ignore[method-assign] - the library's own part of it
    vllm_core.main()
