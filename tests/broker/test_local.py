"""The servers of one machine: what they keep, where they listen, and what they say when they cannot."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import psutil
import pytest
import redis

from aios.infra.local import ports
from aios.infra.local.broker import Broker
from aios.infra.local.valkey import Valkey
from aios.streams.errors import Unavailable

KEYS = 2_000


def listening(pid: int | None) -> set[str]:
    """Hosts on which a process takes connections."""
    connections = psutil.Process(pid).net_connections("inet")
    return {each.laddr.ip.removeprefix("::ffff:") for each in connections if each.status == psutil.CONN_LISTEN}


def test_what_valkey_has_on_disk_survives_kill_9(tmp_path: Path) -> None:
    """Every key is there again, at the same address; it listens on loopback only."""
    server = Valkey(tmp_path)
    server.start()
    assert listening(server.pid) == {ports.LOOPBACK}
    with redis.Redis.from_url(server.url) as client:
        for number in range(KEYS):
            client.set(f"key-{number}", number)
        client.execute_command("WAITAOF", 1, 0, 5_000)  # what it does by itself once a second
    server.stop(signal.SIGKILL)

    again = Valkey(tmp_path)
    again.start()
    try:
        assert again.url == server.url
        with redis.Redis.from_url(again.url) as client:
            assert client.dbsize() == KEYS
            assert client.get(f"key-{KEYS - 1}") == str(KEYS - 1).encode()
    finally:
        again.stop()
    assert not again.answers()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Somebody took its port between choosing and starting."""
    server = Valkey(tmp_path)
    with socket.socket() as stranger:
        stranger.bind((ports.LOOPBACK, server.port))
        stranger.listen()
        with pytest.raises(Unavailable, match="Address already in use"):
            server.start()
    server.stop()


def test_kafka_listens_on_loopback_only(broker: Broker) -> None:
    """Brokers' and controllers' ports alike: nobody else's machine can reach it."""
    assert listening(broker.pid) == {ports.LOOPBACK}
    assert broker.answers()
