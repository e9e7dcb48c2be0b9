"""VLLM's own metrics (`vllm:…`, by model and engine), from the processes of this worker's engines to its port.

Enters: what an engine's process says of them, in Prometheus' text format. Leaves: the same, as it was last said, beside
this process's own. Guaranteed: a name stands there once, with the samples of all engines.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

PREFIX = "vllm:"


class _Said(Collector):
    """By engine."""

    def __init__(self) -> None:
        self.texts: dict[Hashable, str] = {}

    def collect(self) -> Iterable[Metric]:
        found: dict[str, Metric] = {}
        for text in list(self.texts.values()):
            for family in text_string_to_metric_families(text):
                if family.name in found:
                    found[family.name].samples.extend(family.samples)
                elif family.name.startswith(PREFIX):
                    found[family.name] = family
        return found.values()


_SAID = _Said()
REGISTRY.register(_SAID)


def keep(engine: Hashable, text: str) -> None:
    _SAID.texts[engine] = text


def forget(engine: Hashable) -> None:
    _SAID.texts.pop(engine, None)
