"""One request to a server of ours, for commands: its answer, or an exit that says what it said.

Enters: where the server is, and a secret. Leaves: the JSON it answers with. A principal's token is the one in
AIOS_TOKEN, in the file that --token-file names, or the one that this home keeps; never an argument, which every process
of the machine may read.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from aios.infra.output import FAILED, NOT_FOUND, NOT_RUNNING, USAGE, fail
from aios.streams import credentials, principals
from aios.streams.config import Settings

ANSWER_S_MAX = 30.0  # without a byte of it
_STATUS = {404: NOT_FOUND, 503: NOT_RUNNING}

token_file = click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Who asks: a file with a principal's token. Default: AIOS_TOKEN, else this home's own.",
)


@dataclass(frozen=True, slots=True)
class Server:
    """what: for people, e.g. `the gateway`. secret: an API key or a token. maker: the command that makes such a one."""

    what: str
    url: str
    secret: str
    maker: str
    answer_s_max: float = ANSWER_S_MAX


class NoAnswer(Exception):
    """Why, for people, and the exit code that means it. answer: the HTTP status; 0 without one. reason: the problem's
    name, where the server gave one.
    """

    def __init__(self, why: str, status: int = FAILED, answer: int = 0, reason: str = "") -> None:
        super().__init__(why)
        self.status = status
        self.answer = answer
        self.reason = reason


def token(settings: Settings, file: Path | None, own: str) -> str:
    """A principal's token. own: the home's principal that is meant when nobody is named."""
    return named(settings, file) or credentials.kept(principals.token_file(settings.home, own))


def named(settings: Settings, file: Path | None) -> str:
    """The token that a file or AIOS_TOKEN has; empty: neither."""
    if file is not None:
        try:
            return file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{file} cannot be read as a token: {error}", USAGE)
    return settings.token.get_secret_value()


def ask(server: Server, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """The server's answer, or an exit."""
    with _said(), _answer(server, method, path, body, headers or {}) as answer:
        return json.load(answer)


def asked(server: Server, path: str, method: str = "GET", body: Any = None) -> Any:
    """The server's answer, for what does without one too. Raises NoAnswer."""
    with _answer(server, method, path, body, {}) as answer:
        return json.load(answer)


def lines(server: Server, path: str) -> Iterator[dict[str, Any]]:
    """An answer of a JSON object a line, as they come, or an exit."""
    with _said(), _answer(server, "GET", path, None, {}) as answer:
        for line in answer:
            yield json.loads(line)


@contextmanager
def _said() -> Iterator[None]:
    """An exit with its words, where there is no answer."""
    try:
        yield
    except NoAnswer as error:
        fail(str(error), error.status)


@contextmanager
def _answer(
    server: Server, method: str, path: str, body: Any, headers: Mapping[str, str]
) -> Iterator[http.client.HTTPResponse]:
    if not (server.secret.isascii() and server.secret.isprintable()):
        raise NoAnswer("the API key or token holds characters that none has", USAGE)
    connection, base = _connection(server)
    told = {"Authorization": f"Bearer {server.secret}", "Content-Type": "application/json", **headers}
    try:
        connection.request(method, base + path, None if body is None else json.dumps(body), told)
        answer = connection.getresponse()
        if answer.status == 401:
            raise NoAnswer(f"{server.what} at {server.url} knows no such key or token; `{server.maker}` makes one")
        if answer.status >= 400:
            said = _problem(server, answer)
            raise NoAnswer(_why(server, said), _STATUS.get(answer.status, FAILED), answer.status, _reason(said))
        yield answer
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(f"{server.what} at {server.url} does not answer: {error}", NOT_RUNNING) from error
    finally:
        connection.close()


def _connection(server: Server) -> tuple[http.client.HTTPConnection, str]:
    """To the URL's host, by TLS where it says https: the secret is not for everybody's eyes. And its path."""
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    try:
        url = urlsplit(server.url)
        return kinds[url.scheme](url.hostname or "", url.port, timeout=server.answer_s_max), url.path.rstrip("/")
    except (KeyError, ValueError, http.client.InvalidURL):
        what = server.what.replace("the ", "a ", 1)
        why = f"{server.url} is no URL of {what}: http://HOST:PORT or https://HOST"
        raise NoAnswer(why, USAGE) from None


def _problem(server: Server, answer: http.client.HTTPResponse) -> Any:
    """What a refusal says. Raises NoAnswer where it is another's, such as that of a proxy in front."""
    try:
        return json.load(answer)
    except ValueError:
        why = f"{server.what} at {server.url} does not answer; what stands there says {answer.status} {answer.reason}"
        raise NoAnswer(why, NOT_RUNNING, answer.status) from None


def _reason(said: Any) -> str:
    return str(said.get("type", "")).rpartition(":")[2] if isinstance(said, dict) else ""


def _why(server: Server, said: Any) -> str:
    """The problem's own words, each wrong field, and which case it is about."""
    if not isinstance(said, dict) or "detail" not in said:
        return f"the answer is none of {server.what}"
    lines = [f"{each.get('field')}: {each.get('says')}" for each in said.get("errors", ())]
    wrong = "".join(f"\n  {line}" for line in lines if line != said["detail"])
    about = f"; `aios case show {said['case_id']}` shows what became of it" if "case_id" in said else ""
    return f"{said['detail']}{about}{wrong}"
