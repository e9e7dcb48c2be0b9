"""Run by the workers' Python for test_own_version.py: what a team makes of its own, in a folder beside what ships.

python tests/engine/own_version.py writes|learns FOLDER. Says what came of it on standard output, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from click.testing import CliRunner
from transformers import LlamaConfig, LlamaForCausalLM

from aios.inference_workers.engines.engine import Generate, RequestRefused, Runner
from aios.inference_workers.engines.vllm_engine import VllmEngine
from aios.inference_workers.training import labels, train, vectors
from aios.inference_workers.weights import convert
from aios.inference_workers.worker import Served
from aios.infra.commands.model_new import new
from aios.streams import installed, model_files
from aios.streams.config import InferenceSettings, Settings
from aios.streams.errors import ConfigError
from aios.streams.pool_files import EngineOptions

CONTEXT = 64
KINDS = {
    "claim": "My claim for the broken {} was sent {} weeks ago and nobody has paid it",
    "refund": "Please give me my money back, the {} of order {} never came",
    "login": "I forgot my password, the app asks for my {} and locks me out after {} tries",
    "": "How do I bake a cake in the shape of a {} for {} guests",
}
THINGS = ("car", "window", "phone", "bicycle", "table", "camera", "roof", "watch", "lamp", "door")
SPLITS = ("train",) * 6 + ("validation",) * 2 + ("test",) * 2


def writes(folder: Path) -> dict[str, Any]:
    """A model on a disk: a version of it, a pool that names it, one answer, and what is said once it was changed."""
    disk = tiny.make(folder / "disk")
    LlamaForCausalLM(LlamaConfig.from_pretrained(disk)).save_pretrained(disk)
    convert.CACHE = folder / "cache"
    made = CliRunner().invoke(new, ["small-writer", "--from", "summariser@1", "--weights", str(disk)])
    assert made.exit_code == 0, made.output
    _say_all("small-writer@1")
    changed = {
        "model": "small-writer",
        "weights": model_files.card("small-writer@1").weights,
        "engine_options": EngineOptions(context_tokens=CONTEXT, kv_cache_mib=16, sequences_max=2),
    }
    shipped = [pool for pool in installed.pools().values() if pool.process == "generate"]
    served = Served({pool.lane: pool.model_copy(update=changed) for pool in shipped})
    found = asyncio.run(_asked(served))
    found["dumb"] = asyncio.run(_dumb(folder / "dumb"))
    with (disk / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    try:
        convert.folder(changed["weights"])
    except ConfigError as error:
        found["changed"] = str(error)
    return found


async def _asked(served: Served) -> dict[str, Any]:
    engine = served.engine(Settings(inference=InferenceSettings(load_s_max=600)))
    await engine.start()
    hello = Generate(messages=(("user", "hello"),), tokens_max=4)
    said = await engine.generate(hello)
    found: dict[str, Any] = {"tokens": said.output_tokens, "room": engine.tokens_max}
    try:
        await engine.generate(Generate(messages=hello.messages, tokens_max=CONTEXT))
    except RequestRefused as error:
        found["refused"] = str(error)
    await engine.close()
    return found


async def _dumb(folder: Path) -> str:
    """Why a model that was trained on no conversation is not served."""
    tiny.make(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps({name: each for name, each in said.items() if name != "chat_template"}), encoding="utf-8"
    )
    settings = InferenceSettings(load_s_max=600, kv_cache_mib=16)
    return await tiny.refused(VllmEngine(folder, Runner.GENERATE, settings, load_format="dummy"))


def learns(folder: Path) -> dict[str, Any]:
    """A model with heads on labels of its own: trained twice, and judged."""
    vectors.CACHE = folder / "embeddings"
    made = CliRunner().invoke(new, ["tickets", "--from", "triage-encoder@1"])
    assert made.exit_code == 0, made.output
    _say_all("tickets@1")
    path = model_files.folder("tickets@1") / model_files.DATA / "kinds" / labels.FILE
    path.parent.mkdir()
    rows = [
        f"{text.format(thing, number)},{label},{SPLITS[(number + index) % len(SPLITS)]}"
        for label, text in KINDS.items()
        for index, thing in enumerate(THINGS)
        for number in range(2, 7)
    ]
    path.write_text("text,label,split\n" + "\n".join(row.replace(", ", " ") for row in rows), encoding="utf-8")
    said = []
    for verb in ("train", "train", "evaluate"):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            train.main(verb, "tickets@1", {})
        model_files.versions.cache_clear()
        model_files.heads.cache_clear()
        said.append({"figures": json.loads(out.getvalue()), "digest": model_files.digest("tickets@1")})
    return {"said": said, "known": model_files.known(), "heads": model_files.heads("tickets@1")}


def _say_all(reference: str) -> None:
    """What its card leaves to its makers."""
    card = model_files.folder(reference) / model_files.CARD
    card.write_text(card.read_text(encoding="utf-8").replace(model_files.UNSAID, "a test's"), encoding="utf-8")


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else speaks on standard output
    home = Path(sys.argv[2])
    model_files.FOLDERS = (*model_files.FOLDERS, home / "models")
    print(json.dumps({"writes": writes, "learns": learns}[sys.argv[1]](home)), file=answers, flush=True)
