"""Free ports on loopback, remembered in a file so that a restart has the same addresses.

Guaranteed: no chosen port lies in the range from which the kernel takes those of outgoing connections: there a port
of a server that restarts could be taken by a client, even by one that tries to reach that very server.
"""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from aios.streams import whole
from aios.streams.errors import ConfigError

LOOPBACK = "127.0.0.1"
LOWEST = 20_000
TRIES_MAX = 1_000
LEAVING_S_MAX = 2.0
POLL_S = 0.05
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment. Raises ConfigError when none is found."""
    choose = random.SystemRandom()  # of its own: a seeded test must not meet another's ports
    found: list[int] = []
    for _ in range(TRIES_MAX):
        if len(found) == count:
            return found
        port = choose.randrange(LOWEST, _highest())
        if port not in found and is_free(port):
            found.append(port)
    raise ConfigError(f"no free port on {LOOPBACK} between {LOWEST} and {_highest()}")


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that ended just now do not count
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def remembered(file: Path, names: Sequence[str]) -> dict[str, int]:
    """The ports of these names as the file has them; chosen anew, and kept, where one is missing or stays taken."""
    kept = _kept(file)
    ports = {name: kept[name] for name in names if name in kept and _becomes_free(kept[name])}
    missing = [name for name in names if name not in ports]
    ports.update(zip(missing, free_ports(len(missing)), strict=True))
    if ports != kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        whole.write(file, json.dumps(ports))
    return ports


def _kept(file: Path) -> dict[str, int]:
    """What the file says; nothing where none is, or where a full disk or a power cut left a part of one."""
    try:
        said: dict[str, int] = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return said


def _becomes_free(port: int) -> bool:
    """Its server may have been killed a moment ago, and the kernel still be busy with what it held."""
    deadline = time.monotonic() + LEAVING_S_MAX
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _highest() -> int:
    try:
        lowest_ephemeral = int(EPHEMERAL.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return 32_768
    return lowest_ephemeral if lowest_ephemeral > LOWEST + TRIES_MAX else 65_536
