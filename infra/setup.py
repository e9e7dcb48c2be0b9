"""Installs what one machine needs, into the repository's own folder. Runs on Python's standard library alone.

    python3 infra/setup.py

Enters: lock files and pom.xml beside this file. Leaves: .venv (pipeline), .venv-inference (workers), Kafka's jars
in .tools, model files in .cache. Guaranteed: a step that is done is not done again (each leaves a stamp of what it
was made from); an interrupted one starts over; every file has the committed hash; nothing is written elsewhere
but the package managers' own caches. Rejected: one environment for both (their dependencies exclude each other).
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INFRA = ROOT / "infra"
KAFKA = "4.2.0"
MAVEN_DEPENDENCY_PLUGIN = "3.8.1"
JAVA_MIN = 17
TOOLS, JARS = ROOT / ".tools", ROOT / ".tools" / "kafka" / KAFKA
UV = TOOLS / "uv" / "bin" / "uv"
NVIDIA = Path("/proc/driver/nvidia/version")  # there with the driver: the workers' environment is vLLM's for GPUs then
PIPELINE, WORKERS = ROOT / ".venv", ROOT / ".venv-inference"
DISK_MB = 8_000

PLAN = """\
Setup downloads about 3.7 GB and takes 7 GB of disk, once: 0.2 GB the pipeline (Kafka client, Faust, gateway, sinks, \
tests), 3.4 GB vLLM with torch and two small models (torch as published carries CUDA, which a CPU does not use), \
0.1 GB Apache Kafka."""


class Missing(Exception):
    """Something that setup cannot install; the message says how to get it."""


@dataclass(frozen=True)
class Step:
    """One part. made_from: its stamp changes with these; leaves: what must exist for the stamp to count."""

    what: str
    made_from: tuple[Path, ...]
    stamp: Path
    leaves: Path
    do: Callable[[], None]

    def digest(self) -> str:
        content = b"".join(path.read_bytes() for path in self.made_from)
        return hashlib.sha256(content + str(ROOT).encode()).hexdigest()

    @property
    def done(self) -> bool:
        return self.leaves.exists() and self.stamp.is_file() and self.stamp.read_text() == self.digest()


def main() -> int:
    steps = [step for step in _steps() if not step.done]
    if not steps:
        return 0
    print(PLAN, flush=True)
    try:
        _check_machine()
        for number, step in enumerate(steps, start=1):
            _run(step, f"[{number}/{len(steps)}] {step.what}")
    except (Missing, subprocess.CalledProcessError, OSError) as error:
        print(f"setup: {error}\nsetup: run it again when that is mended; what is done stays done", file=sys.stderr)
        return 1
    return 0


def _steps() -> list[Step]:
    pyproject = ROOT / "pyproject.toml"
    pipeline, workers = INFRA / "pipeline.lock", INFRA / ("inference-gpu.lock" if NVIDIA.exists() else "inference.lock")
    pom, sums = INFRA / "local" / "kafka" / "pom.xml", INFRA / "local" / "kafka" / "jars.sha256"
    models = ROOT / "inference_workers" / "models" / "files.json"
    uv = INFRA / "uv.lock"
    return [
        Step("uv, the installer", (uv,), TOOLS / "uv" / "stamp", UV, _uv),
        Step(
            "pipeline environment",
            (pipeline,),
            PIPELINE / "stamp",
            PIPELINE / "bin" / "python",
            lambda: _environment(PIPELINE, pipeline, "--compile-bytecode"),  # halves what a stage's start costs
        ),
        Step("Apache Kafka", (pom, sums), JARS / "stamp", JARS, _kafka),
        Step(
            "inference environment",
            (workers,),
            WORKERS / "stamp",
            WORKERS / "bin" / "python",
            lambda: _environment(WORKERS, workers, "--no-deps", "--compile-bytecode"),  # halves an engine's start
        ),
        *(
            Step(
                f"aios in the {what} environment",
                (pyproject, lock),  # the environment is made anew with its lock
                folder / "aios.stamp",  # in it: who deletes the environment deletes this too
                folder / "bin" / "aios",
                functools.partial(_aios, folder),
            )
            for what, folder, lock in (("pipeline", PIPELINE, pipeline), ("inference", WORKERS, workers))
        ),
        Step(
            "Apache Kafka, started once",  # halves what its other starts cost
            (pom, sums, INFRA / "local" / "first_start.py", *_java_release()),
            JARS / "start.stamp",
            JARS / "bootstrap.checkpoint",
            lambda: _do(str(PIPELINE / "bin" / "python"), "-m", "aios.infra.local.first_start"),
        ),
        Step("model files", (models,), ROOT / ".cache" / "models" / "stamp", ROOT / ".cache" / "models", _models),
    ]


def _run(step: Step, title: str) -> None:
    started = time.monotonic()
    print(f"{title} …", flush=True)
    step.do()
    step.stamp.parent.mkdir(parents=True, exist_ok=True)
    step.stamp.write_text(step.digest())
    print(f"{title}: {time.monotonic() - started:.0f} s", flush=True)


def _check_machine() -> None:
    if sys.version_info[:2] != (3, 11):
        raise Missing(
            f"Python 3.11 is needed, this is {sys.version.split()[0]} (Debian 12: apt-get install python3.11-venv)"
        )
    free_mb = shutil.disk_usage(ROOT).free // 1_000_000
    if free_mb < DISK_MB and not WORKERS.exists():
        raise Missing(f"{DISK_MB} MB of disk are needed in {ROOT}, {free_mb} MB are free")
    java = _java_version()
    if java < JAVA_MIN:
        found = f"this is Java {java}" if java else "there is none"
        raise Missing(f"Java {JAVA_MIN} or newer is needed, {found} (Debian: apt-get install openjdk-17-jre-headless)")
    if shutil.which("mvn") is None and not JARS.exists():
        raise Missing("Maven is needed to fetch Apache Kafka (Debian: apt-get install maven)")


def _java_version() -> int:
    """Major version of the java on PATH, 0 if there is none."""
    if shutil.which("java") is None:
        return 0
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', said)
    return int(match[1]) if match else 0


def _java_release() -> tuple[Path, ...]:
    """The file that names the build of the java on PATH, where it has one."""
    java = shutil.which("java")
    release = Path(java).resolve().parent.parent / "release" if java else None
    return (release,) if release and release.is_file() else ()


def _uv() -> None:
    home = TOOLS / "uv"
    shutil.rmtree(home, ignore_errors=True)
    try:
        _do(sys.executable, "-m", "venv", str(home))
    except subprocess.CalledProcessError as error:
        raise Missing("python3 -m venv does not work here (Debian: apt-get install python3.11-venv)") from error
    _do(str(home / "bin" / "pip"), "install", "-q", "--require-hashes", "-r", str(INFRA / "uv.lock"))


def _environment(folder: Path, lock: Path, *options: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _do(str(UV), "venv", "-q", "--python", sys.executable, str(folder))
    _do(*_pip(folder), "--require-hashes", *options, "-r", str(lock))


def _pip(folder: Path) -> tuple[str, ...]:
    return (str(UV), "pip", "install", "-q", "--python", str(folder / "bin" / "python"))


def _aios(folder: Path) -> None:
    """This repository as the package `aios`, editable; and for mypy, which does not run the editable's hook, a link."""
    _do(*_pip(folder), "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    link = ROOT / "build" / "typing" / "aios"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT)


def _kafka() -> None:
    part = JARS.with_name(f"{KAFKA}.part")
    shutil.rmtree(part, ignore_errors=True)
    goal = f"org.apache.maven.plugins:maven-dependency-plugin:{MAVEN_DEPENDENCY_PLUGIN}:copy-dependencies"
    _do(
        *("mvn", "-q", "-B", "-f", str(INFRA / "local" / "kafka" / "pom.xml"), goal),
        *(f"-DoutputDirectory={part}", "-DincludeScope=runtime"),
    )
    for line in (INFRA / "local" / "kafka" / "jars.sha256").read_text().splitlines():
        expected, name = line.split()
        if hashlib.sha256((part / name).read_bytes()).hexdigest() != expected:
            raise Missing(f"{part / name} is not the committed file; delete ~/.m2/repository and run setup again")
    shutil.rmtree(JARS, ignore_errors=True)
    part.rename(JARS)


def _models() -> None:
    _do(str(WORKERS / "bin" / "python"), "-m", "aios.inference_workers.weights.convert", quiet=True)


def _do(*command: str, quiet: bool = False) -> None:
    environment = {
        "UV_SYSTEM_CERTS": "1",  # as pip, Maven and git do: a company's own authority is known to the system
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "HF_HUB_OFFLINE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL if quiet else None)


if __name__ == "__main__":
    sys.exit(main())
