"""Run by the workers' Python: an adapter of random numbers, merged, beside the same adapter at work in a layer."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from aios.inference_workers.weights.adapter import DOWN, UP, merge
from aios.streams.errors import ConfigError


def main(folder: Path) -> None:
    torch.manual_seed(0)
    base = {"a.weight": torch.randn(6, 4), "b.weight": torch.randn(3, 6)}
    down, up = torch.randn(2, 4).half(), torch.randn(6, 2).half()
    save_file({"a.weight" + DOWN: down, "a.weight" + UP: up}, folder / "fits.safetensors")
    merged = merge(base, folder / "fits.safetensors")
    text = torch.randn(5, 4)
    apart = text @ base["a.weight"].T + text @ down.float().T @ up.float().T
    torch.testing.assert_close(text @ merged["a.weight"].T, apart)
    assert merged["b.weight"] is base["b.weight"]
    save_file({"a.weight" + DOWN: down[:, :3].contiguous(), "a.weight" + UP: up}, folder / "narrow.safetensors")
    save_file({"c.weight" + DOWN: down, "c.weight" + UP: up}, folder / "other.safetensors")
    for name in ("narrow", "other"):
        assert name in refused(base, folder / f"{name}.safetensors")


def refused(base: dict[str, torch.Tensor], adapter: Path) -> str:
    """Why; empty if it was merged."""
    try:
        merge(base, adapter)
    except ConfigError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
