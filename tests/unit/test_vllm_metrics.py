"""vLLM's own metrics, from the processes of a worker's engines to its port."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aios.inference_workers.engines import vllm_metrics

SAID = """\
# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{{engine="0",model_name="{model}"}} {tokens}
# HELP process_open_fds Of the engine's process.
# TYPE process_open_fds gauge
process_open_fds 3.0
"""


def seen() -> dict[str, float]:
    families = list(text_string_to_metric_families(generate_latest().decode()))
    assert len({family.name for family in families}) == len(families)
    return {
        sample.labels["model_name"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "vllm:prompt_tokens_total"
    }


def test_what_engines_say_stands_on_the_workers_port_until_they_are_closed() -> None:
    """Each name once, with every engine's samples as they were last said; nothing else of their processes."""
    engines = object(), object()
    for engine, model, tokens in ((engines[0], "a", 1), (engines[1], "b", 7), (engines[0], "a", 5)):
        vllm_metrics.keep(engine, SAID.format(model=model, tokens=tokens))
    assert seen() == {"a": 5, "b": 7}
    vllm_metrics.forget(engines[0])
    assert seen() == {"b": 7}
    vllm_metrics.forget(engines[1])
    assert seen() == {}
