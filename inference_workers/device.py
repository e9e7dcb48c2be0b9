"""How busy the devices of this machine are: GPUs, through NVML by NVIDIA's own binding (extra inference-gpu).

In: nothing. Out: each visible GPU's name with a function that reads its utilisation. Guaranteed: without the binding or
the driver there are none, and nothing is logged: a machine of CPUs is no failure; a GPU that stops answering
reads 0.
Rejected: nvidia-smi (a process a scrape), DCGM (a service of its own; its exporter can stand beside this).
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

Gpu = tuple[str, Callable[[], float]]


def gpus() -> Sequence[Gpu]:
    """(name, reads 0 to 1) of each GPU that this process may use, in the driver's order."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return ()
    try:
        nvml.nvmlInit()
        handles = [(index, nvml.nvmlDeviceGetHandleByIndex(index)) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return ()
    mine = visible(os.environ.get("CUDA_VISIBLE_DEVICES"))
    return [
        (f"gpu{index}", functools.partial(_utilisation, nvml, handle))
        for index, handle in handles
        if mine is None or index in mine
    ]


def visible(setting: str | None) -> frozenset[int] | None:
    """CUDA_VISIBLE_DEVICES as indices; None: all, or named by UUID, which NVML does not count by."""
    if setting is None:
        return None
    parts = [part.strip() for part in setting.split(",") if part.strip()]
    return frozenset(map(int, parts)) if all(part.isdigit() for part in parts) else None


def _utilisation(nvml: Any, handle: Any) -> float:
    try:
        return nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except nvml.NVMLError:
        return 0.0
