"""What vLLM is told: from the settings and the machine to its EngineArgs and its environment.

In: a model's folder, what it is for, `inference:` of the settings as its pool has them, whether there is a GPU. Out:
the arguments of vllm.EngineArgs, and variables that vLLM reads when it is imported. Guaranteed: whoever asks the same
gets the same, so that what `aios bench inference` measures an engine with is what the workers run; every setting that
concerns the engine is in one of the two. Pure but for here().

engine_mode: `in_process` has vLLM's core in the engine's own process (vllm_core.py); `subprocess` gives it one more, so
that reading texts and writing answers overlap with the device's steps. On a CPU the first is better (the core's process
spins for its work, on a core that the step needs); on a GPU measure both: infra/bench/gpu.sh does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psutil

from aios.streams.config import InferenceSettings
from aios.streams.errors import ConfigError

EMBED_TOKENS_MAX = 256  # what MiniLM was trained to read, unless context_tokens says more; longer texts are cut there
GENERATE_TOKENS_MAX = 1024  # prompt and answer, unless context_tokens says more; a longer prompt is refused
BLOCK_TOKENS = 32  # of the KV cache; longer ones never find the shared beginning of short prompts
SUBPROCESS = "subprocess"
PROCESSOR = Path("/proc/cpuinfo")
KV_TOO_SMALL = re.compile(
    r"KV cache is needed|No available memory for the cache blocks|larger than the .*KV cache", re.I
)
NO_MEMORY = re.compile(
    r"out of memory|can(no|')t allocate memory|Free memory on device|Available memory on node|bad_alloc", re.I
)
TOO_LONG = re.compile(r"max_model_len \(\d+\) is greater than the derived")
NOT_SPLIT = re.compile(
    r"attention heads \(\d+\) must be divisible by tensor parallel size|larger than the number of available GPUs", re.I
)
FIRST = "(what the pool's file says in `engine_options` goes first)"


def arguments(model: Path, *, embeds: bool, settings: InferenceSettings, gpu: bool, dtype: str) -> dict[str, Any]:
    """For vllm.EngineArgs. embeds: a pooling model; else it generates. dtype: what this device computes in."""
    chosen: dict[str, Any] = {
        "model": str(model),
        "runner": "pooling" if embeds else "generate",
        "dtype": dtype,
        "enforce_eager": settings.eager if settings.eager is not None else not gpu,
        "max_model_len": context_tokens(settings, embeds=embeds),
        "max_num_seqs": settings.sequences_max,
        "scheduling_policy": "priority",
        "tensor_parallel_size": settings.tensor_parallel,
    }
    if gpu:
        chosen["gpu_memory_utilization"] = settings.gpu_memory_share
    else:
        chosen["kv_cache_memory_bytes"] = settings.kv_cache_mib << 20  # else half of the memory
    if not embeds:
        chosen |= (
            {"enable_prefix_caching": True} if gpu else {"enable_prefix_caching": True, "block_size": BLOCK_TOKENS}
        )
        # JSON without blanks: a small model would else write them until its tokens end.
        chosen["structured_outputs_config"] = {"backend": "xgrammar", "disable_any_whitespace": True}
    return chosen


def context_tokens(settings: InferenceSettings, *, embeds: bool) -> int:
    """Of one request, prompt and answer together, or of one piece of text that is encoded."""
    return settings.context_tokens or (EMBED_TOKENS_MAX if embeds else GENERATE_TOKENS_MAX)


def here(model: Path, *, embeds: bool, settings: InferenceSettings) -> dict[str, Any]:
    """The same for this machine: what torch and the processor say of it. Imports torch."""
    import torch

    gpu = torch.cuda.is_available()
    dtype = gpu_dtype() if gpu else cpu_dtype(PROCESSOR.read_text(encoding="ascii", errors="replace"))
    return arguments(model, embeds=embeds, settings=settings, gpu=gpu, dtype=dtype)


def gpu_dtype() -> str:
    """bfloat16 where the GPU computes in it, from compute capability 8.0 on; vLLM refuses what is emulated."""
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def cpu_dtype(flags: str) -> str:
    """bfloat16 where the processor computes in it; elsewhere it is emulated, 20 times slower than float32."""
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def environment(settings: InferenceSettings) -> dict[str, str]:
    """Variables that follow from settings; they win over what is there, since a setting that does nothing is a trap."""
    apart = settings.engine_mode == SUBPROCESS
    return {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1" if apart else "0",
        **({"VLLM_WORKER_MULTIPROC_METHOD": "spawn"} if apart or settings.tensor_parallel > 1 else {}),
    }


def check_memory(model: Path, settings: InferenceSettings) -> None:
    """Refuse to begin what the kernel would end without a word. Raises ConfigError; on a GPU, vLLM looks itself."""
    import torch

    if torch.cuda.is_available():
        return
    weights = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    free = psutil.virtual_memory().available
    if weights + (settings.kv_cache_mib << 20) > free:
        raise ConfigError(
            f"{model.name} needs {weights >> 20} MiB for its weights and inference.kv_cache_mib={settings.kv_cache_mib}"
            f" for its cache, and {free >> 20} MiB are free: set inference.kv_cache_mib lower {FIRST}, or free memory"
        )


def setting_to_change(error: Exception, model: Path, settings: InferenceSettings) -> ConfigError | None:
    """What vLLM or torch mean with an error at start, with the setting to change; None: something else."""
    said = str(error)
    if TOO_LONG.search(said):
        return ConfigError(
            f"{model.name} reads fewer tokens at once than it is asked to: set inference.context_tokens lower {FIRST}. "
            f"{said}"
        )
    if NOT_SPLIT.search(said):
        return ConfigError(
            f"{model.name} cannot be split over inference.tensor_parallel={settings.tensor_parallel} devices: set it "
            f"to a divisor of the model's attention heads, and to no more than there are devices {FIRST}. {said}"
        )
    if KV_TOO_SMALL.search(said):
        return ConfigError(
            f"{model.name}: the KV cache has no room for one request of its length: set inference.kv_cache_mib (now "
            f"{settings.kv_cache_mib}) or, on a GPU, inference.gpu_memory_share (now {settings.gpu_memory_share}) "
            f"higher {FIRST}. {said}"
        )
    if isinstance(error, MemoryError) or NO_MEMORY.search(said):
        return ConfigError(
            f"{model.name}: there is not enough memory: set inference.kv_cache_mib (now {settings.kv_cache_mib}) or, "
            f"on a GPU, inference.gpu_memory_share (now {settings.gpu_memory_share}) or inference.sequences_max (now "
            f"{settings.sequences_max}) lower {FIRST}. {said}"
        )
    return None
