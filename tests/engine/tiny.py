"""A model of two layers and random weights, made on the spot: the whole engine, in a second and without a download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from aios.streams.errors import ConfigError

if TYPE_CHECKING:
    from aios.inference_workers.engines.vllm_engine import VllmEngine

WORDS = "the a letter bank card claim payment please help my account was closed why when how money late fee"
SURROGATE = "\xed"  # the byte: xgrammar counts half a surrogate pair as a character, and decoding it gives three


def make(folder: Path) -> Path:
    """A Llama with a tokenizer of its own, for load_format='dummy'."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    made.decoder = decoders.ByteLevel()
    alphabet = [each for each in pre_tokenizers.ByteLevel.alphabet() if each != SURROGATE]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=alphabet)
    made.train_from_iterator([WORDS] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    fast.save_pretrained(folder)
    shape = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        architectures=["LlamaForCausalLM"],
        bos_token_id=1,
        eos_token_id=2,
    )
    shape.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2}))
    return folder


async def refused(engine: VllmEngine) -> str:
    """What start() says that this engine cannot serve; empty when it starts."""
    try:
        await engine.start()
    except ConfigError as error:
        return str(error)
    finally:
        await engine.close()
    return ""
