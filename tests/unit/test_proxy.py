"""The proxy that injures connections: what it lets through is late or missing, and never wrong."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from aios.infra.local import ports
from aios.infra.prove.proxy import FAIR, Proxy, Weather

S_MAX = 10.0


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that says what it hears."""
    (port,) = ports.free_ports(1)
    with socket.create_server((ports.LOOPBACK, port)) as server:

        def serve(connection: socket.socket) -> None:
            with connection:
                while heard := connection.recv(65_536):
                    connection.sendall(heard)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield port


@pytest.fixture
def proxy(echo: int) -> Iterator[tuple[Proxy, int]]:
    (port,) = ports.free_ports(1)
    made = Proxy({port: echo})
    made.start()
    yield made, port
    made.close()


def connected(port: int) -> socket.socket:
    return socket.create_connection((ports.LOOPBACK, port), S_MAX)


def asked(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    heard = b""
    while len(heard) < len(words) and (more := connection.recv(65_536)):
        heard += more
    return heard


def has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    ("weather", "size", "s_min"),
    [
        (FAIR, 300_000, 0.0),
        (Weather(delay_s=0.2), 10, 0.4),
        (Weather(bytes_per_s=20_000), 10_000, 1.0),
    ],
)
def test_bytes_come_whole_and_as_late_as_the_weather_says(
    proxy: tuple[Proxy, int], weather: Weather, size: int, s_min: float
) -> None:
    """Both ways: a delay counts twice, and so does a bandwidth."""
    made, port = proxy
    made.set(weather)
    words = bytes(range(250)) * (size // 250) or b"ten bytes!"
    began = time.monotonic()
    with closing(connected(port)) as connection:
        assert asked(connection, words) == words
    assert time.monotonic() - began >= s_min


def test_a_cut_ends_what_is_there_and_refuses_what_comes(proxy: tuple[Proxy, int]) -> None:
    """Until the weather is fair again."""
    made, port = proxy
    with closing(connected(port)) as connection:
        assert asked(connection, b"there") == b"there"
        made.set(Weather(is_cut=True))
        assert has_ended(connection)
        with closing(connected(port)) as another:
            assert has_ended(another)
    made.set(FAIR)
    with closing(connected(port)) as connection:
        assert asked(connection, b"again") == b"again"


@pytest.mark.parametrize("lost", [Weather(drop_asked=True), Weather(drop_answered=True)])
def test_a_connection_with_a_hole_in_it_ends_when_the_weather_clears(proxy: tuple[Proxy, int], lost: Weather) -> None:
    """What was lost never comes late, and nothing that follows it is passed on."""
    made, port = proxy
    with closing(connected(port)) as connection:
        assert asked(connection, b"there") == b"there"
        made.set(lost)
        connection.sendall(b"lost")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        made.set(FAIR)
        connection.settimeout(S_MAX)
        connection.sendall(b"after")
        assert has_ended(connection)
