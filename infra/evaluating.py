"""Has a prompt's evaluation set answered by a model, and judged: for whoever lets a prompt serve, or a model.

Enters: a version of a prompt, a model, the workers' environment. Leaves: each case judged, and what they come to; or an
exit. Guaranteed: the model that is named is the one that answers, in the process whose pools serve it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aios.inference_workers import evaluation
from aios.inference_workers.evaluation import Given, Judged
from aios.infra import rehearsing
from aios.infra.output import fail
from aios.infra.rehearsing import Request
from aios.schemas.models import ModelActivated, PromptActivated
from aios.streams import installed, model_files, prompt_files
from aios.streams.activations import RETIRED
from aios.streams.errors import ConfigError
from aios.streams.prompt_files import Prompt, Recorded


def evaluate(chosen: Prompt, *, model: str, engine: str) -> tuple[Recorded, list[Judged]]:
    """Every case of its evaluation set, answered and judged. Or an exit."""
    try:
        cases = evaluation.load(chosen.name)
        answering = model_of(model or chosen.model)
        process = process_of(chosen, answering)
    except ConfigError as error:
        fail(str(error))
    asked = [
        Request(id=case.id, task=chosen.task, model=answering, prompt=chosen.reference, input=case.input)
        for case in cases.cases
    ]
    version, answers = rehearsing.ask(process, asked, engine)
    judged = [evaluation.judge(chosen, case, _given(answers[case.id])) for case in cases.cases]
    return evaluation.recorded(chosen, cases, judged, model=answering, engine=version), judged


def below(model: str, prompts: Mapping[str, int]) -> Iterator[Recorded]:
    """What prompts that serve would come to with this name@version, where that is too low. They are tried now, but for
    those whose recorded evaluation is of it. prompts: which versions serve, by name. Raises ConfigError.
    """
    for name, version in prompts.items():
        if not version or not (chosen := prompt_files.load(f"{name}@{version}")).made_for(model):
            continue
        kept = prompt_files.evaluated(chosen.reference, model)
        if kept is not None and kept.passed and kept.model == model:
            continue
        found, _ = evaluate(chosen, model=model, engine="")
        if not found.passed:
            yield found


def serving(told: Mapping[str, PromptActivated]) -> dict[str, int]:
    """By prompt: what was activated, else the newest that passed; 0: none."""
    found: dict[str, int] = {}
    for name in prompt_files.names():
        try:
            found[name] = prompt_files.newest(name)
        except ConfigError:
            found[name] = 0
    return found | {name: one.version for name, one in told.items()}


def served(model: str, told: Mapping[str, ModelActivated]) -> tuple[str, ...]:
    """Each name@version that answers a prompt of this model, where one is activated, a canary's last; else as the
    prompt says it.

    told: by name, what was activated last.
    """
    one = told.get(model)
    if one is None or one.version == RETIRED:
        return (model,)
    return tuple(f"{model}@{version}" for version in (one.version, one.canary_version) if version)


def model_of(name: str) -> str:
    """The name@version that answers a prompt: the one it names, else that model's newest. Raises ConfigError."""
    return name if "@" in name else model_files.reference(name)


def process_of(chosen: Prompt, model: str) -> str:
    """The process of workers whose pools serve this name@version with such prompts. Raises ConfigError."""
    name, pools = model.partition("@")[0], installed.pools().values()
    found = next((pool.process for pool in pools if (pool.model, pool.task) == (name, chosen.task)), None)
    if found is None:
        raise ConfigError(f"no pool serves model {name} for the task {chosen.task}, so nobody would answer {model}")
    return found


def _given(said: dict[str, Any]) -> Given:
    return Given(
        status=said["status"],
        reason=said["reason"],
        output=said["output"],
        prompt_tokens=said["prompt_tokens"],
        output_tokens=said["output_tokens"],
    )


def line(found: Recorded | None) -> str:
    """For people: how many passed, and which kinds are too low."""
    if found is None:
        return "not evaluated"
    low = [kind for kind, one in found.kinds.items() if one["passed"] / one["all"] < one["needed"]]
    passed, all_ = (sum(one[what] for one in found.kinds.values()) for what in ("passed", "all"))
    return f"{passed:.0f} of {all_:.0f}" + (f", too few of {', '.join(low)}" if low else ", passed")
