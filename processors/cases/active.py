"""Which version of a model or prompt serves a case.

Enters: a name that a workflow gives without a version, and the case. Leaves: name@version, or nothing where it is
retired, or a prompt's file was edited since it was activated. Guaranteed: a case is served by one version, since plan
remembers what it was given (case.remembered.v1, `stamps`), and by none once the model is retired (asking.py); the share
of a canary is chosen by a hash of case and canary, so that the same case is in it whoever asks, and another canary has
other cases. Pure, but for Active, which follows two reference tables.
Rejected: a random draw (a repeat of the same input would take another version); a version by tenant (the canary would
be judged on one customer's texts).
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Protocol

from aios.schemas.codec import Codec
from aios.schemas.models import ModelActivated, PromptActivated
from aios.streams import activations, model_files, prompt_files
from aios.streams.activations import RETIRED, draw
from aios.streams.config import KafkaSettings
from aios.streams.errors import ConfigError
from aios.streams.prompt_files import Recorded

log = logging.getLogger(__name__)


class Versions(Protocol):
    """What plan asks. Empty: nothing serves. Raises ConfigError for a name that nobody knows."""

    def model(self, name: str, case_id: str) -> str: ...
    def prompt(self, name: str) -> str: ...


class Newest:
    """The newest versions of this deploy: where no activation is known."""

    def model(self, name: str, case_id: str) -> str:
        return model_of(name, case_id, None)

    def prompt(self, name: str) -> str:
        return prompt_of(name, None)


class Active:
    """What was activated last; the newest of this deploy where nothing was. Follows the tables from start() on."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        self._models = activations.models(kafka, codec)
        self._prompts = activations.prompts(kafka, codec)

    def start(self) -> None:
        """Raises Unavailable."""
        self._models.start()
        self._prompts.start()

    def close(self) -> None:
        self._models.close()
        self._prompts.close()

    def model(self, name: str, case_id: str) -> str:
        return model_of(name, case_id, self._models.get(name))

    def prompt(self, name: str) -> str:
        return prompt_of(name, self._prompts.get(name))


def model_of(name: str, case_id: str, told: ModelActivated | None) -> str:
    """The version that serves this case; empty: the model is retired. Raises ConfigError."""
    if told is None:
        return model_files.reference(name)
    if told.version == RETIRED:
        return ""
    if told.canary_version and draw(f"{name}@{told.canary_version}", case_id) < told.canary_permille:
        return f"{name}@{told.canary_version}"
    return f"{name}@{told.version}"


def prompt_of(name: str, told: PromptActivated | None) -> str:
    """The version that serves; empty: the prompt is retired, or its file is not the one that was activated. Raises
    ConfigError.
    """
    if told is None:
        return f"{name}@{_newest_prompt(name)}"
    reference = f"{name}@{told.version}"
    return reference if told.version != RETIRED and _is_as_activated(reference, told.evaluation) else ""


def _is_as_activated(reference: str, evaluation: str) -> bool:
    """What was activated is a text, and not a file's name. One that is not here yet is the workers' to judge."""
    try:
        file = prompt_files.load(reference).digest
    except ConfigError:
        if reference in prompt_files.known():
            raise
        return True
    return _is_of(reference, file, evaluation)


@lru_cache(maxsize=256)  # so that it is said once
def _is_of(reference: str, file: str, evaluation: str) -> bool:
    if Recorded.model_validate_json(evaluation).prompt_digest == file:
        return True
    log.error("%s is not the text that was activated: its steps go on without it. Activate it as it is", reference)
    return False


@lru_cache(maxsize=256)
def _newest_prompt(name: str) -> int:
    """The prompts of a deploy do not change under it."""
    return prompt_files.newest(name)
