"""`aios up|down|status|logs|scale`: the whole system on one machine.

Enters: settings, and the home in AIOS_HOME (default .aios). Leaves: the system in the foreground until Ctrl-C, or
detached until `aios down`. Exit codes as in infra/output.py; a system that cannot start says why and leaves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from aios.infra import client, ending, output
from aios.infra.local import control, logfiles
from aios.infra.local.home import MARK, OWN_LOG, Home
from aios.infra.output import FAILED, NOT_FOUND, NOT_RUNNING, fail
from aios.infra.running import load_settings
from aios.schemas.errors import AiosError
from aios.schemas.registry import shown
from aios.streams import topology
from aios.streams.errors import ConfigError, Unavailable
from aios.streams.principals import OPERATOR

DOWN_S_MAX = 120.0  # stages hand back (35), then Valkey, registry and Kafka stop; then force
KILLED_S_MAX = 10.0
SCALE_S_MAX = 200.0
LETTERS_S_MAX = 3.0  # for operations to say how many dead letters wait
NAME_WIDTH = 12
COLUMNS = ("stage", "slot", "pid", "state", "restarts", "last_exit")
ADDRESSES = ("kafka", "registry", "valkey", "gateway", "operations")
LOGGED = (*ADDRESSES[:3], *topology.PROCESSES, OWN_LOG)


@click.command()
@click.option("--detach", is_flag=True, help="Return when it is ready, or say why it is not; `aios down` stops it.")
@click.option("--fresh", is_flag=True, help="Forget all data of this home first.")
@click.option("--detached", is_flag=True, hidden=True, help="What --detach starts.")
def up(detach: bool, fresh: bool, detached: bool) -> None:
    """Start Kafka, registry, Valkey and all stages on this machine, and keep them running until Ctrl-C.

    Data is kept in AIOS_HOME (default .aios) and found again at the next start. A second AIOS_HOME is a second
    system. What has an address in the settings (kafka.bootstrap_servers, registry.url, redis.url) is not started
    but used.
    """
    settings = load_settings()
    home = Home(settings.home)
    if fresh and settings.kafka.bootstrap_servers:
        fail("--fresh forgets a home with its own Kafka; the topics of a configured one would not fit an empty home")
    if detach:
        _detach(home, fresh=fresh)
        return
    try:
        home.make()
        with home.lock():
            if fresh:
                home.wipe()
            home.prepare()
            asyncio.run(_run(home, detached=detached))
    except AiosError as error:
        fail(str(error))


@click.command()
def down() -> None:
    """Stop the system of this home: its stages hand back what they have in hand first."""
    home = Home(load_settings().home)
    if not home.is_held():
        if (home.folder / MARK).is_file():
            home.clear()  # what a killed system may have left
            (home.run / control.NAME).unlink(missing_ok=True)
        click.echo(f"nothing runs in {home.folder}")
        return
    try:
        pid = control.owner(home)
        os.kill(pid, signal.SIGTERM)
        if not home.is_free(within_s=DOWN_S_MAX):
            click.echo(f"it did not stop within {DOWN_S_MAX:.0f} s: killed", err=True)
            os.kill(pid, signal.SIGKILL)
    except (Unavailable, ProcessLookupError):  # it just starts, or just ended
        pass
    if not home.is_free(within_s=KILLED_S_MAX):
        fail(f"a system holds {home.folder} and cannot be reached", NOT_RUNNING)
    click.echo("stopped")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def status(as_json: bool) -> None:
    """What runs, and where. Exit code 4 when nothing does."""
    home = Home(load_settings().home)
    try:
        said = _asked(home, {"do": "status"})
    except Unavailable as error:
        if as_json:
            output.one({"ready": False, **dict.fromkeys(ADDRESSES, ""), "breakers": [], "processes": []}, as_json=True)
        fail(str(error), NOT_RUNNING)
    if as_json:
        output.one(said, as_json=True)
        return
    about = {"ready": "yes" if said["ready"] else "no", **{name: shown(said[name]) for name in ADDRESSES}}
    pages = [f"{said[name]}/console" for name in ("gateway", "operations") if said[name]]
    output.one(about | {"consoles": ", ".join(pages), "dead letters": _letters(said["operations"])}, as_json=False)
    click.echo()
    output.rows(said["processes"], COLUMNS, as_json=False, none="no processes yet")
    for each in said["breakers"]:
        click.echo()
        click.echo(f"breaker {each['key']} is open: {each['failed']} of {each['settled']} records ({each['reason']})")
        click.echo(each["action"])


def _letters(operations: str) -> str:
    """How many wait. Whatever is away, the rest of a status is said."""
    server = client.Server("operations", operations, client.token(load_settings(), None, OPERATOR), "", LETTERS_S_MAX)
    try:
        count = sum(each["count"] for each in client.asked(server, "/v1/dead-letters/groups"))
    except client.NoAnswer:
        return "not known at this moment"
    return f"{count} wait: `aios dlq groups`" if count else "none wait"


@click.command()
@click.argument("stage")
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(0, 100_000), default=50, show_default=True, help="Of each process.")
@click.option("--json", "as_json", is_flag=True, help="Lines as they were written.")
def logs(stage: str, follow: bool, lines: int, as_json: bool) -> None:
    """The log of STAGE: one of its processes (admit.0) or all of them; also kafka, registry, valkey.

    `up` is what a detached system said about its processes.
    """
    home = Home(load_settings().home)
    name, _, slot = stage.rpartition(".") if stage.rpartition(".")[2].isdigit() else (stage, "", "*")
    if name in topology.BY_NAME:
        name = topology.BY_NAME[name].process
    if name not in LOGGED:
        fail(f"{stage} has no log; these have: {', '.join(LOGGED)}", NOT_FOUND)
    files = functools.partial(_log_files, home, name, slot)
    if not files() and not follow:
        fail(f"{stage} has written nothing in {home.logs}", NOT_FOUND)
    for file in files():
        for line in logfiles.last_lines(file, lines):
            _show(file, line, as_json=as_json, named=len(files()) > 1)
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for file, line in logfiles.follow(files):
                _show(file, line, as_json=as_json, named=len(files()) > 1)


@click.command()
@click.argument("wanted", metavar="STAGE=N...", nargs=-1, required=True)
def scale(wanted: tuple[str, ...]) -> None:
    """Have N processes of a STAGE, now; returns when they are ready, and those too many have ended.

    A new start has one of each again.
    """
    home = Home(load_settings().home)
    for each in wanted:
        stage, _, count = each.partition("=")
        if not count.isdecimal():
            raise click.BadParameter(f"{each}: expected STAGE=N, as in classify=2")
        try:
            _asked(home, {"do": "scale", "stage": stage, "count": int(count)}, s_max=SCALE_S_MAX)
        except Unavailable as error:
            fail(str(error), NOT_RUNNING)
        except ConfigError as error:
            fail(str(error))
        click.echo(f"{stage}: {count} process{'' if count == '1' else 'es'}")


# ── the foreground ──


async def _run(home: Home, *, detached: bool) -> NoReturn:
    """The system, until a signal; the second one kills. Ends the process."""
    from aios.infra.local.system import System

    stop, kill = asyncio.Event(), asyncio.Event()

    def end() -> None:
        (kill if stop.is_set() else stop).set()

    for number in {signal.SIGINT, signal.SIGTERM, *ending.heard()}:
        asyncio.get_running_loop().add_signal_handler(number, end)
    _say("home", str(home.folder))
    system = System(load_settings(), home, _say)
    status = 0
    try:
        await system.run(stop, kill, functools.partial(_is_ready, home, detached=detached))
    except AiosError as error:
        click.echo(f"Error: {error}", err=True)
        status = FAILED
    sys.stdout.flush()
    os._exit(status)  # nothing is left to be done; threads may still ask a Kafka that is gone, for half a minute


def _say(name: str, what: str) -> None:
    """To whoever watches. Where their terminal is gone, or a log's disk is full, no process is to end for it."""
    with contextlib.suppress(OSError):
        click.echo(f"{name:<{NAME_WIDTH}} {what}")


def _is_ready(home: Home, *, detached: bool) -> None:
    if not detached:
        _say("", "Ctrl-C stops it; in another terminal: aios status, aios logs STAGE -f, aios scale STAGE=N")
        return
    sys.stdout.flush()
    log = os.open(home.log(OWN_LOG, 0), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for words in (sys.stdout.fileno(), sys.stderr.fileno()):  # and so whoever started us sees their end
        os.dup2(log, words)
    os.close(log)


# ── detached ──


def _detach(home: Home, *, fresh: bool) -> None:
    """Start another `aios up` and repeat what it says until it is ready. Raises click's Exit when it is not."""
    command = [sys.executable, "-P", "-m", "aios.infra", "up", "--detached", *(["--fresh"] if fresh else [])]
    started = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert started.stdout is not None
    with _passing_on(started), started.stdout as said:
        for line in said:
            click.echo(line, nl=False)
    # Its words end when it is ready, and when it ends.
    if not _is_its_own(started.pid, home):
        raise click.exceptions.Exit(started.wait() or FAILED)
    started.returncode = 0  # it is its own master now: no warning that it still runs


def _is_its_own(pid: int, home: Home) -> bool:
    """Whether it is this process that runs here, ready; not an earlier one, which sent it away."""
    try:
        return home.system.is_file() and control.owner(home) == pid
    except Unavailable:
        return False


@contextlib.contextmanager
def _passing_on(started: subprocess.Popen[bytes]) -> Iterator[None]:
    """While it starts, who stops this command stops it too."""

    def stop(number: int, _: object) -> None:
        started.send_signal(signal.SIGTERM)
        click.echo(f"{signal.Signals(number).name}: it is stopped again")

    before = {number: signal.signal(number, stop) for number in {signal.SIGINT, signal.SIGTERM, *ending.heard()}}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ── asking it ──


def _asked(home: Home, asked: Mapping[str, Any], s_max: float = control.ANSWER_S_MAX) -> dict[str, Any]:
    """Raises Unavailable when nothing runs, ConfigError when it refuses."""
    said = control.ask(home, asked, s_max=s_max)
    if "error" in said:
        raise ConfigError(str(said["error"]))
    return said


def _log_files(home: Home, name: str, slot: str) -> list[Path]:
    return sorted(home.logs.glob(f"{name}.{slot}.log"))


def _show(file: Path, line: str, *, as_json: bool, named: bool) -> None:
    prefix = f"{file.stem} | " if named and not as_json else ""
    click.echo(prefix + (line if as_json else logfiles.readable(line)))
