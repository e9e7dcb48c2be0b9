"""What a workflow needs of the stages that run: files by group, and why they would not find them.

Enters: a workflow that was checked here, which versions serve, and what this installation has. Leaves: by consumer
group, the policies, prompts, models, pools and systems that its members would look for, with the digests that they have
here; and a line for each that a running member lacks or has another text of (streams/announced.py). What names no
version is asked in the one that serves: that which is activated, else the newest here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from aios.processors.language import policy_files
from aios.processors.language.questions import Call, Question
from aios.processors.language.workflow import Workflow, asks
from aios.schemas.codec import Codec
from aios.streams import activations, announced, installed, model_files, pool_files, prompt_files, topology
from aios.streams.announced import Files
from aios.streams.config import KafkaSettings
from aios.streams.pool_files import Lane, Pool

WAIT_S_MAX = 2 * announced.LOOK_S  # for what came to a machine just now
AGAIN_S = 0.5

Serving = Mapping[str, int]
"""By `kind/name` of a prompt or model, the version that is activated; 0 for one that is retired."""


def lacking(kafka: KafkaSettings, codec: Codec, workflow: Workflow) -> list[str]:
    """Why running members of plan and of pools would not find what it names. A line each. Raises Unavailable."""
    needed = of(workflow, serving(kafka, codec), announced.here(policy_files.digests()))
    deadline = time.monotonic() + WAIT_S_MAX
    while found := list(announced.lacking(needed, announced.members(kafka, needed), announced.read(kafka, codec))):
        if time.monotonic() > deadline:
            break
        time.sleep(AGAIN_S)
    return found


def serving(kafka: KafkaSettings, codec: Codec) -> Serving:
    """Raises Unavailable."""
    models, prompts = activations.read(kafka, codec), activations.read_prompts(kafka, codec)
    return {
        **{f"model/{name}": told.version for name, told in models.items()},
        **{f"prompt/{name}": told.version for name, told in prompts.items()},
    }


def of(workflow: Workflow, serving: Serving, here: Files) -> Mapping[str, Files]:
    """By group. What is not here either is left out: `aios workflow check` has said so, or its step fails. Pure."""
    needed: dict[str, dict[str, str]] = {}
    for group, name in _names(workflow, serving):
        if name in here:
            needed.setdefault(group, {})[name] = here[name]
    return needed


def _names(workflow: Workflow, serving: Serving) -> Iterator[tuple[str, str]]:
    """Group, and `kind/name`. plan judges policies, renders no prompt but checks its answers, and stamps models."""
    plan = topology.PLAN.group
    for ask in (each for step in workflow.steps.values() for each in asks(step.kind)):
        if isinstance(ask, Call):
            yield plan, f"system/{ask.system}"
            continue
        for policy in (*ask.guards.before, *ask.guards.after):
            yield plan, f"policy/{policy}"
        for pool in _pools(ask):
            yield plan, f"pool/{pool.pool}"
            model = ask.model if pool.process == ask.pool else pool.model
            found = (_served("model", model, serving), _served("prompt", ask.prompt or "", serving))
            for name in filter(None, found):
                yield plan, name
                yield topology.BY_NAME[pool.pool].group, name


def _pools(ask: Question) -> Iterator[Pool]:
    """Those that it may be asked at, in each lane, and that follow them where they cannot answer."""
    pools = installed.pools()
    for lane in [ask.lane] if ask.lane else list(Lane):
        if f"{ask.pool}.{lane}" in pools:
            yield from pool_files.chain(pools, f"{ask.pool}.{lane}")


def _served(kind: str, name: str, serving: Serving) -> str:
    """`kind/name@version`; empty: it names none, or one that is retired or not here."""
    if not name:
        return ""
    if "@" in name:
        is_retired = kind == "model" and serving.get(f"model/{name.partition('@')[0]}") == activations.RETIRED
        return "" if is_retired else f"{kind}/{name}"
    known = model_files.versions(name) if kind == "model" else tuple(prompt_files.versions(name))
    version = serving.get(f"{kind}/{name}", max(known, default=0))
    return f"{kind}/{name}@{version}" if version else ""
