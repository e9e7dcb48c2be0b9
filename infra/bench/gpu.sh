#!/usr/bin/env bash
# `aios bench inference` on a machine with an NVIDIA GPU: the same run and the same tables, once with vLLM's
# core in the engine's process and once in one of its own, so that `inference.engine_mode` is chosen by measure.
#
#   infra/bench/gpu.sh [--rounds 3] [--size 8] …     options of `aios bench inference`
#
# Leaves infra/bench/results/inference-gpu-<mode>.json and .svg. Needs Python 3.11, Java 17, Maven and the driver; the
# environments are made by infra/setup.py, which takes vLLM for GPUs where it finds a driver.
# TENSOR_PARALLEL=3 puts each model on three devices: it divides the attention heads of both (9 and 12), and vLLM
# refuses what does not. `engine_options: {tensor_parallel: …}` in the files of one process's pools is for its model
# alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ -e /proc/driver/nvidia/version ] || { echo "gpu.sh: there is no NVIDIA driver here" >&2; exit 1; }
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader || true
"$(command -v python3.11 || command -v python3)" infra/setup.py

# A batch of 32 is the knee of two CPU cores; a GPU has room for hundreds, and whoever leaves must find the next waiting.
# With --size 8 there are twice as many requests as seats. Of those that write, the pool has some 100 in flight all the
# same: `tokens_in_flight_max` of its file (32768) binds before IN_FLIGHT_MAX does, and is raised in that file alone.
export PYTHONSAFEPATH=1
export AIOS_INFERENCE__SEQUENCES_MAX="${SEQUENCES_MAX:-256}"
export AIOS_INFERENCE__IN_FLIGHT_MAX="${IN_FLIGHT_MAX:-$((2 * AIOS_INFERENCE__SEQUENCES_MAX))}"
export AIOS_INFERENCE__TENSOR_PARALLEL="${TENSOR_PARALLEL:-1}"
export AIOS_INFERENCE__GPU_MEMORY_SHARE="${GPU_MEMORY_SHARE:-0.2}" # two models and their copies by themselves on one GPU
export AIOS_INFERENCE__LOAD_S_MAX="${LOAD_S_MAX:-600}"

for mode in in_process subprocess; do
  echo "── inference.engine_mode: $mode"
  AIOS_INFERENCE__ENGINE_MODE=$mode .venv/bin/aios bench inference --keep --name "inference-gpu-$mode" --size 8 "$@"
done

.venv/bin/python - <<'PYTHON'
import json, pathlib

results = pathlib.Path("infra/bench/results")
for process in ("generate", "classify"):
    rates = {}
    for mode in ("in_process", "subprocess"):
        found = json.loads((results / f"inference-gpu-{mode}.json").read_text())
        rates[mode] = found.get("rates", {}).get(process, {}).get("per_s", {}).get("pool", 0)
    print(f"{process}: {rates}; inference.engine_mode: {max(rates, key=rates.get)}")
PYTHON
