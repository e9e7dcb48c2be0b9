"""Has models answer outside of the pipeline, in the workers' own environment (inference_workers/rehearse.py).

Enters: a process of the workers and requests. Leaves: the engine's version and every answer, by the request's id, with
a bar for people while they come. Guaranteed: all of them, or an exit with the worker's last words.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from aios.infra.output import fail

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-inference" / "bin" / "python"
LAST_WORDS_CHARS = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """As rehearse.py reads it. options: JSON."""

    id: str
    task: str
    model: str
    prompt: str
    input: str
    options: str = "{}"

    def line(self) -> str:
        told = {name: getattr(self, name) for name in ("id", "task", "model", "prompt", "input", "options")}
        return json.dumps(told, ensure_ascii=False)


def ask(process: str, requests: Iterable[Request], engine: str = "") -> tuple[str, dict[str, dict[str, Any]]]:
    """The engine's version, and the answers by id. engine: instead of the one in the settings. Or an exit."""
    asked = list(requests)
    if not PYTHON.exists():
        fail("the workers' environment .venv-inference is not there: run `make setup`")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as lines, tempfile.TemporaryFile("w+") as words:
        lines.writelines(f"{request.line()}\n" for request in asked)
        lines.seek(0)
        with subprocess.Popen(
            [PYTHON, "-m", "aios.inference_workers.rehearse", process],
            env=_environment(engine),
            stdin=lines,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
            encoding="utf-8",
        ) as running:
            version, answers = _read(running, len(asked))
        if running.returncode or len(answers) != len(asked):
            words.seek(0)
            fail(f"the model did not answer: {words.read()[-LAST_WORDS_CHARS:].strip()}")
    return version, answers


def _environment(engine: str) -> Mapping[str, str]:
    chosen = {"AIOS_INFERENCE__ENGINE": engine} if engine else {}
    return os.environ | {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore"} | chosen


def _read(running: subprocess.Popen[str], wanted: int) -> tuple[str, dict[str, dict[str, Any]]]:
    """To the end of what it says."""
    assert running.stdout is not None
    version, answers = "", {}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("The model starts", total=wanted)
        for line in running.stdout:
            said = json.loads(line)
            if "engine" in said:
                version = said["engine"]
                progress.update(task, description="The model answers")
            else:
                answers[said.pop("id")] = said
                progress.update(task, completed=len(answers))
    return version, answers
