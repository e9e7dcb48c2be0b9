"""Low-rank adapters: what fine-tuning changes of an encoder, small enough to lie in the repository.

In: an adapter file, two small matrices a tensor that it changes (`<name>.down`, `<name>.up`, 16-bit floats). Out: the
encoder's own tensors with their products added, so that what serves is an ordinary model of the ordinary speed.
Guaranteed: tensors that the file does not name stay bit for bit; a file that does not fit is refused.
Rejected: adapters at run time (each request would pay for them); the tuned weights themselves (43 MB a version).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aios.streams.errors import ConfigError

DOWN, UP = ".down", ".up"


def merge(tensors: dict[str, Any], adapter: Path) -> dict[str, Any]:
    """The tensors with the adapter's changes added. Raises ConfigError when the file names or shapes do not fit."""
    import torch
    from safetensors.torch import load_file

    parts = load_file(adapter)
    merged = dict(tensors)
    for name in sorted({key.removesuffix(DOWN).removesuffix(UP) for key in parts}):
        try:
            change = parts[name + UP].to(torch.float32) @ parts[name + DOWN].to(torch.float32)
            merged[name] = (tensors[name].to(torch.float32) + change).contiguous()
        except (KeyError, RuntimeError) as error:
            raise ConfigError(f"{adapter}: {name} does not fit this encoder: {error}") from error
    return merged
