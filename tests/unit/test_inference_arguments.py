"""What vLLM is told: every setting that concerns the engine reaches it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from aios.inference_workers import worker
from aios.inference_workers.engines import engine_arguments
from aios.inference_workers.engines.engine_arguments import FIRST
from aios.inference_workers.training import vectors
from aios.inference_workers.weights import convert
from aios.streams import installed
from aios.streams.config import InferenceSettings, Settings
from aios.streams.errors import ConfigError
from aios.streams.pool_files import EngineOptions

MODEL = Path("weights")


def told(*, embeds: bool = False, gpu: bool = True, **settings: Any) -> dict[str, Any]:
    """What reaches vLLM: arguments and environment together."""
    chosen = InferenceSettings(**settings)
    arguments = engine_arguments.arguments(MODEL, embeds=embeds, settings=chosen, gpu=gpu, dtype="bfloat16")
    return arguments | engine_arguments.environment(chosen)


OTHER = {
    "context_tokens": 4096,
    "sequences_max": 7,
    "kv_cache_mib": 64,
    "gpu_memory_share": 0.5,
    "tensor_parallel": 2,
    "engine_mode": "subprocess",
    "eager": False,
}


@pytest.mark.parametrize("setting", OTHER)
def test_a_setting_of_the_engine_changes_what_the_engine_is_told(setting: str) -> None:
    """A setting that does nothing is a trap; a pool's file may say each, and then it alone is told so."""
    gpu = setting not in ("kv_cache_mib", "eager")
    other = told(gpu=gpu, **{setting: OTHER[setting]})
    assert told(gpu=gpu) != other
    assert OTHER.keys() == EngineOptions.model_fields.keys()
    pool = installed.pools()["generate.bulk"]
    own = pool.model_copy(update={"engine_options": EngineOptions.model_validate({setting: OTHER[setting]})})
    settings = InferenceSettings(sequences_max=9)
    assert settings.of(pool) == settings
    assert settings.of(own) == settings.model_copy(update={setting: OTHER[setting]})


def test_an_engine_is_told_what_its_pool_s_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before what the settings say of all pools; so is the one that trains and judges on the same weights, and what it
    made of texts with another context is not taken for this one's.
    """
    told: list[InferenceSettings] = []
    monkeypatch.setattr(worker, "VllmEngine", lambda _folder, _runner, settings, _told: told.append(settings))
    monkeypatch.setattr(convert, "folder", Path)
    pools = worker.SERVED["classify"].pools
    whole = Settings(inference=InferenceSettings(sequences_max=9, kv_cache_mib=99))
    worker.Served(pools).engine(whole)
    own = {"engine_options": EngineOptions(context_tokens=512, sequences_max=7)}
    others = {lane: pool.model_copy(update=own) for lane, pool in pools.items()}
    worker.Served(others).engine(whole)
    assert [(one.context_tokens, one.sequences_max, one.kv_cache_mib) for one in told] == [(None, 9, 99), (512, 7, 99)]
    weights = worker.SERVED["classify"].pool.weights
    kept = vectors.Embeddings(weights)._path
    assert vectors._settings(weights) == InferenceSettings()
    monkeypatch.setattr(installed, "pools", lambda: others)
    assert vectors._settings(weights).context_tokens == 512
    assert vectors.Embeddings(weights)._path != kept


def test_a_longer_context_is_room_for_longer_requests_of_its_pool_alone() -> None:
    """As many tokens as its engine reads at once, for each piece of a text: admission counts with it."""
    for process, each in (("generate", 1024), ("classify", 256)):
        served = worker.SERVED[process]
        longer = {"engine_options": EngineOptions(context_tokens=4 * each)}
        other = worker.Served({lane: pool.model_copy(update=longer) for lane, pool in served.pools.items()})
        assert served.one_max(InferenceSettings()) % each == 0
        assert other.one_max(InferenceSettings()) == 4 * served.one_max(InferenceSettings())


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


def test_two_engines_fit_on_a_gpu_unless_somebody_says_otherwise() -> None:
    """Those of `aios up`, or a pool's and its canary's: vLLM refuses one whose share is not free when it starts."""
    share = told(gpu=True)["gpu_memory_utilization"]
    context = 0.02  # what a process takes beside its share, of a GPU of 24 GiB
    assert 1 - (share + context) - context >= share


@pytest.mark.parametrize(("native", "dtype"), [(True, "bfloat16"), (False, "float16")])
def test_a_gpu_computes_in_what_it_can(monkeypatch: pytest.MonkeyPatch, dtype: str, *, native: bool) -> None:
    """VLLM refuses bfloat16 below compute capability 8.0, though torch emulates it there."""

    def is_bf16_supported(*, including_emulation: bool = True) -> bool:
        return including_emulation or native

    cuda = SimpleNamespace(is_available=lambda: True, is_bf16_supported=is_bf16_supported)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert engine_arguments.here(MODEL, embeds=True, settings=InferenceSettings())["dtype"] == dtype


@pytest.mark.parametrize(("flags", "dtype"), [("avx512_bf16 avx512f", "bfloat16"), ("avx2", "float32")])
def test_a_processor_computes_in_what_it_can(flags: str, dtype: str) -> None:
    assert engine_arguments.cpu_dtype(flags) == dtype


# ── memory ──

MIB = 1 << 20


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A model of 100 MiB that take no room on disk."""
    folder = tmp_path / "model-1"
    folder.mkdir()
    for part in range(2):
        with (folder / f"part-{part}.safetensors").open("wb") as file:
            file.truncate(50 * MIB)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    return folder


def machine(monkeypatch: pytest.MonkeyPatch, *, gpu: bool, free_mib: int) -> None:
    """What torch and psutil say of one."""
    cuda = SimpleNamespace(is_available=lambda: gpu)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free_mib * MIB))


@pytest.mark.parametrize(("gpu", "free_mib"), [(False, 164), (True, 1)])
def test_a_model_that_fits_is_loaded(
    weights: Path, monkeypatch: pytest.MonkeyPatch, *, gpu: bool, free_mib: int
) -> None:
    """Weights and cache in what is free, to the last byte; on a GPU vLLM looks itself."""
    machine(monkeypatch, gpu=gpu, free_mib=free_mib)
    engine_arguments.check_memory(weights, InferenceSettings(kv_cache_mib=64))


def test_a_model_that_does_not_fit_is_refused_before_the_kernel_ends_it(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it needs, what there is, and which setting to change."""
    machine(monkeypatch, gpu=False, free_mib=163)
    with pytest.raises(ConfigError) as caught:
        engine_arguments.check_memory(weights, InferenceSettings(kv_cache_mib=64))
    assert str(caught.value) == (
        "model-1 needs 100 MiB for its weights and inference.kv_cache_mib=64 for its cache, and 163 MiB are free: "
        f"set inference.kv_cache_mib lower {FIRST}, or free memory"
    )


@pytest.mark.parametrize(
    "said",
    [
        "To serve at least one request with the model's max seq len (1024), (0.09 GiB KV cache is needed, which is "
        "larger than the available KV cache memory (0.01 GiB). Try increasing `gpu_memory_utilization`",
        "No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
        "The model's max seq len (1024) is larger than the maximum number of tokens that fit into the KV cache (96)",
    ],
)
def test_a_cache_without_room_for_one_request_asks_for_more(said: str) -> None:
    """In vLLM's words and ours: the cache or the GPU's share higher."""
    found = engine_arguments.setting_to_change(ValueError(said), MODEL, InferenceSettings(kv_cache_mib=16))
    assert str(found) == (
        "weights: the KV cache has no room for one request of its length: set inference.kv_cache_mib (now 16) or, on a "
        f"GPU, inference.gpu_memory_share (now 0.45) higher {FIRST}. {said}"
    )


@pytest.mark.parametrize(
    "error",
    [
        ValueError(
            "Free memory on device cuda:0 (3.25/23.43 GiB) on startup is less than desired GPU memory utilization "
            "(0.9, 21.1 GiB). Decrease GPU memory utilization"
        ),
        ValueError(
            "Available memory on node 0 (0.2/8.0 GiB) on kv cache allocation is less than requested memory for kv "
            "(0.25 GiB). Decrease --kv-cache-memory-bytes"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
    ids=["a GPU that is taken", "a CPU without room for the cache", "CUDA", "torch", "C++", "Python"],
)
def test_memory_that_is_not_there_asks_for_less(error: Exception) -> None:
    """Whoever says it: the cache, the GPU's share or the batch lower."""
    found = engine_arguments.setting_to_change(error, MODEL, InferenceSettings(sequences_max=8))
    assert str(found) == (
        "weights: there is not enough memory: set inference.kv_cache_mib (now 256) or, on a GPU, "
        f"inference.gpu_memory_share (now 0.45) or inference.sequences_max (now 8) lower {FIRST}. {error}"
    )


def test_a_context_that_the_model_cannot_read_is_a_wrong_setting() -> None:
    """In vLLM's words and ours: the context lower."""
    said = (
        "User-specified max_model_len (2048) is greater than the derived max_model_len (max_position_embeddings=1024.0 "
        "or model_max_length=None in model's config.json)."
    )
    found = engine_arguments.setting_to_change(ValueError(said), MODEL, InferenceSettings(context_tokens=2048))
    assert str(found) == (
        f"weights reads fewer tokens at once than it is asked to: set inference.context_tokens lower {FIRST}. {said}"
    )


@pytest.mark.parametrize(
    "said",
    [
        "Total number of attention heads (9) must be divisible by tensor parallel size (2).",
        "World size (2) is larger than the number of available GPUs (1) in this node. If this is intentional and you",
    ],
)
def test_a_model_that_cannot_be_split_names_the_setting(said: str) -> None:
    """In vLLM's words and ours: over how many devices it may be."""
    found = engine_arguments.setting_to_change(ValueError(said), MODEL, InferenceSettings(tensor_parallel=2))
    assert str(found) == (
        "weights cannot be split over inference.tensor_parallel=2 devices: set it to a divisor of the model's "
        f"attention heads, and to no more than there are devices {FIRST}. {said}"
    )


def test_what_is_no_want_of_memory_keeps_its_own_words() -> None:
    """The engine dies of it as it said."""
    error = ValueError("Model architectures ['Unknown'] are not supported")
    assert engine_arguments.setting_to_change(error, MODEL, InferenceSettings()) is None
