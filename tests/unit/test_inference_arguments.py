"""What vLLM is told: every setting that concerns the engine reaches it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aios.inference_workers import engine_arguments
from aios.streams.config import InferenceSettings

MODEL = Path("weights")


def told(*, embeds: bool = False, gpu: bool = True, **settings: Any) -> dict[str, Any]:
    """What reaches vLLM: arguments and environment together."""
    chosen = InferenceSettings(**settings)
    arguments = engine_arguments.arguments(MODEL, embeds=embeds, settings=chosen, gpu=gpu, dtype="bfloat16")
    return arguments | engine_arguments.environment(chosen)


@pytest.mark.parametrize("setting", ["tensor_parallel", "engine_mode", "eager", "sequences_max", "gpu_memory_share"])
def test_a_setting_of_the_engine_changes_what_the_engine_is_told(setting: str) -> None:
    """A setting that does nothing is a trap."""
    other = {
        "tensor_parallel": 2,
        "engine_mode": "subprocess",
        "eager": True,
        "sequences_max": 7,
        "gpu_memory_share": 0.5,
    }
    assert told() != told(**{setting: other[setting]})


def test_a_model_over_two_gpus_is_split_and_its_workers_are_spawned() -> None:
    """A forked process cannot use CUDA once its parent has."""
    arguments = told(tensor_parallel=2)
    assert arguments["tensor_parallel_size"] == 2
    assert arguments["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


@pytest.mark.parametrize(("gpu", "eager"), [(True, False), (False, True)])
def test_graphs_are_compiled_where_a_gpu_gains_from_them(*, gpu: bool, eager: bool) -> None:
    """Unless the operator says otherwise."""
    assert told(gpu=gpu)["enforce_eager"] is eager
    assert told(gpu=gpu, eager=not eager)["enforce_eager"] is not eager


def test_a_cpu_has_a_cache_of_so_many_bytes_and_a_gpu_a_share() -> None:
    """Left alone, a CPU engine would take half of the memory."""
    assert told(gpu=False, kv_cache_mib=64)["kv_cache_memory_bytes"] == 64 << 20
    assert "kv_cache_memory_bytes" not in told(gpu=True)


@pytest.mark.parametrize(("flags", "dtype"), [("avx512_bf16 avx512f", "bfloat16"), ("avx2", "float32")])
def test_a_processor_computes_in_what_it_can(flags: str, dtype: str) -> None:
    assert engine_arguments.cpu_dtype(flags) == dtype
