"""The log files of a system's processes: bounded by their supervisor, read by people.

A process writes straight into its file, opened for appending, so that its words survive any of the two. A file over
FILE_BYTES_MAX is copied to <file>.1 and emptied in place (appending writers go on at its new end); what is written
between the two, microseconds, is lost. Rejected: a pipe through the supervisor (its death would be theirs, and every
line costs twice).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

FILE_BYTES_MAX = 16 << 20  # and as much again in <file>.1
TAIL_BYTES_MAX = 256 << 10  # looked at for the last lines
POLL_S = 0.2


def keep_bounded(file: Path, bytes_max: int = FILE_BYTES_MAX) -> None:
    """Keep the newest part of a file that has grown too large in <file>.1, and empty it."""
    try:
        if file.stat().st_size <= bytes_max:
            return
    except FileNotFoundError:
        return
    shutil.copyfile(file, file.with_name(f"{file.name}.1"))
    with file.open("r+b") as grown:
        grown.truncate(0)


def last_lines(file: Path, count: int) -> list[str]:
    """At most count, out of the last TAIL_BYTES_MAX; none if there is no file."""
    try:
        with file.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - TAIL_BYTES_MAX))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    return lines[-count:] if count else []


def follow(files: Callable[[], Sequence[Path]]) -> Iterator[tuple[Path, str]]:
    """What is written from now on, line by line, for ever; files that appear later are read whole."""
    read = {file: file.stat().st_size for file in files() if file.exists()}
    rest: dict[Path, str] = {}
    while True:
        for file in files():
            for line in _more(file, read, rest):
                yield file, line
        time.sleep(POLL_S)


def _more(file: Path, read: dict[Path, int], rest: dict[Path, str]) -> list[str]:
    try:
        with file.open("rb") as log:
            if log.seek(0, 2) < read.get(file, 0):  # emptied
                read[file] = 0
            log.seek(read.get(file, 0))
            more = log.read()
    except FileNotFoundError:
        return []
    read[file] = read.get(file, 0) + len(more)
    *lines, rest[file] = (rest.get(file, "") + more.decode("utf-8", "replace")).split("\n")
    return lines


def readable(line: str) -> str:
    """One of our JSON lines as a person reads it; any other line as it is."""
    try:
        said = json.loads(line)
        at = datetime.fromisoformat(said["ts"]).astimezone()
        ids = "".join(f"  {name} {said[name]}" for name in ("case_id", "trace_id") if said.get(name))
        return f"{at:%H:%M:%S} {said['level']:<7} {said['msg']}{ids}{_error(said.get('error'))}"
    except (ValueError, KeyError, TypeError):
        return line


def _error(said: Any) -> str:
    """Class and text of an exception, and the innermost place it came from."""
    if not said:
        return ""
    text = f": {said['text']}" if said.get("text") else ""
    return f"  ({said['type']}{text}{' at ' + said['at'][-1] if said.get('at') else ''})"
