"""The servers of one machine: what they keep, where they listen, and what they say when they cannot."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import psutil
import pytest
import redis

from aios.infra.local import broker as broker_module
from aios.infra.local import ports
from aios.infra.local.broker import META, RECORDS, Broker
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


def test_a_home_may_be_named_in_any_letters(tmp_path: Path) -> None:
    """Kafka reads the folder's name from a file that is no UTF-8 for it."""
    node = Broker(tmp_path / "Büro 東京 \\ 😀")
    try:
        node.start()
        assert (node._folder / "data" / "__cluster_metadata-0").is_dir()
    finally:
        node.stop()


def formatted(folder: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """A new node's folder: what it says of itself, and its other files."""
    Broker(folder).command()
    files = {file.name: file.read_bytes() for file in (folder / "data").rglob("*")}
    lines = files.pop(META).decode().splitlines()
    meta = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    return meta, {name: untimed(batches) for name, batches in files.items()}


def untimed(batches: bytes) -> bytes:
    """Records without what tells when: the checksums and times of their batches, and the header's own record."""
    kept, at = b"", 0
    while at < len(batches):
        end = at + 12 + int.from_bytes(batches[at + 8 : at + 12])
        is_control = bool(batches[at + 22] & 0x20)
        kept += batches[at : at + 17] + batches[at + 21 : at + 27] + (b"" if is_control else batches[at + 43 : end])
        at = end
    return kept


@pytest.mark.skipif(not RECORDS.is_file(), reason="no first records beside Kafka's jars: run `make setup`")
def test_a_folder_is_formatted_as_kafkas_own_tool_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files with the same in them; only the cluster and the folder are others each time."""
    ours, files = formatted(tmp_path / "ours")
    again, _ = formatted(tmp_path / "again")
    monkeypatch.setattr(broker_module, "RECORDS", tmp_path / "none")
    theirs, wanted = formatted(tmp_path / "theirs")
    new = {"cluster.id", "directory.id"}
    assert files == wanted
    assert b"metadata.version" in files[RECORDS.name]
    assert ours.keys() == theirs.keys()
    assert {name for name in theirs if ours[name] != theirs[name]} == new
    assert {name for name in theirs if ours[name] != again[name]} == new
    assert [len(ours[name]) for name in new] == [len(theirs[name]) for name in new] == [22, 22]
