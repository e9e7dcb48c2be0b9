"""A home holds one system; its log files are bounded; its ports are remembered; nothing that is not ours is wiped."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aios.infra.commands import up
from aios.infra.local import child, control, logfiles, ports, supervisor
from aios.infra.local.home import Home
from aios.streams.errors import ConfigError, Unavailable

STAGES = ("admit", "plan")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One that is prepared."""
    made = Home(tmp_path / "home")
    made.make()
    made.prepare()
    return made


def test_two_systems_never_run_in_one_home(home: Home) -> None:
    """The second is refused while the first holds it, and not afterwards."""
    with home.lock():
        assert home.is_held()
        with pytest.raises(ConfigError, match="aios down"), home.lock():
            pass
    assert not home.is_held()
    with home.lock():
        pass


def test_a_home_is_free_when_its_holder_is_killed(home: Home) -> None:
    """No lock outlives kill -9, and none is a file."""
    code = (
        "import sys, time; from pathlib import Path; from aios.infra.local.home import Home\n"
        "with Home(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(60)"
    )
    before = sorted(home.folder.rglob("*"))
    with subprocess.Popen([sys.executable, "-P", "-c", code, str(home.folder)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert home.is_held()
        holder.kill()
    assert home.is_free(within_s=5.0)
    assert sorted(home.folder.rglob("*")) == before


def test_asking_whether_it_runs_does_not_keep_a_system_from_starting(home: Home) -> None:
    """Asked without a pause by another thread, the home can still be taken, each time."""
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            home.is_held()

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(5):
            with home.lock():
                pass
    finally:
        done.set()
        asker.join()


def test_wiping_removes_what_systems_made_and_nothing_else(home: Home) -> None:
    """A stranger's file in a home stays."""
    for name in ("kafka/data", "valkey", "lake/case.decided.v1", "audit"):
        (home.folder / name).mkdir(parents=True)
    (home.folder / "kafka" / "data" / "segment").write_bytes(b"x")
    (home.folder / "ports.json").write_text("{}")
    (home.folder / "notes.txt").write_text("mine")
    home.wipe()
    assert sorted(each.name for each in home.folder.iterdir()) == ["aios-home.json", "notes.txt"]


def test_a_folder_that_is_no_home_is_neither_wiped_nor_taken(tmp_path: Path) -> None:
    """Somebody's own folder, even with names like ours in it."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="nothing was wiped"):
        Home(tmp_path).wipe()
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        Home(tmp_path).prepare()
    assert (tmp_path / "thesis.txt").exists()
    assert (tmp_path / "logs").exists()


def test_a_link_in_a_home_is_not_followed_when_it_is_wiped(home: Home, tmp_path: Path) -> None:
    """What lies behind it may be anything."""
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    (home.folder / "kafka").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="kafka"):
        home.wipe()
    assert elsewhere.exists()
    assert home.run.exists()


def test_a_home_where_there_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "home").write_text("a file")
    with pytest.raises(ConfigError, match="AIOS_HOME"):
        Home(tmp_path / "home").make()


def test_a_deep_home_can_be_spoken_with(tmp_path: Path) -> None:
    """Its socket's path is longer than a socket's address may be; errors come back as words."""
    home = Home(tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8))
    home.make()
    home.prepare()
    assert len(str(home.run / control.NAME)) > 200

    async def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        if asked["do"] == "fail":
            raise ConfigError("the reason")
        return {"heard": asked["do"]}

    async def both() -> None:
        async with control.serve(home, answer):
            assert await asyncio.to_thread(control.ask, home, {"do": "status"}) == {"heard": "status"}
            assert await asyncio.to_thread(control.ask, home, {"do": "fail"}) == {"error": "the reason"}
            assert await asyncio.to_thread(control.ask, home, {"nothing": 1}) == {"error": "not understood: KeyError"}
            assert await asyncio.to_thread(control.owner, home) > 0

    asyncio.run(both())
    assert list(home.run.iterdir()) == []
    with pytest.raises(Unavailable, match="aios up"):
        control.ask(home, {"do": "status"})


def test_ports_are_the_same_again_unless_somebody_took_one(tmp_path: Path) -> None:
    """Remembered; where another server listens now, another is chosen and remembered in its place."""
    file = tmp_path / "ports.json"
    first = ports.remembered(file, ("one", "two"))
    assert ports.remembered(file, ("one", "two")) == first
    with socket.socket() as stranger:
        stranger.bind((ports.LOOPBACK, first["one"]))
        stranger.listen()
        then = ports.remembered(file, ("one", "two"))
    assert then["one"] != first["one"]
    assert then["two"] == first["two"]
    assert ports.remembered(file, ("one", "two")) == then


@pytest.mark.parametrize("left", [b"", b'{"one": 2', b"\0\0"])
def test_ports_that_were_half_written_keep_no_system_from_starting(tmp_path: Path, left: bytes) -> None:
    """By a full disk or a power cut; they are chosen anew, and remembered."""
    file = tmp_path / "ports.json"
    file.write_bytes(left)
    found = ports.remembered(file, ("one",))
    assert ports.remembered(file, ("one",)) == found


def test_remembered_ports_are_whole_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the process while it writes."""
    file = tmp_path / "ports.json"
    first = ports.remembered(file, ("one",))

    def cut(path: Path, text: str, encoding: str) -> None:
        with path.open("w", encoding=encoding) as half:
            half.write(text[:3])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", cut)
    with pytest.raises(OSError, match="no space"):
        ports.remembered(file, ("one", "two"))
    assert ports.remembered(file, ("one",)) == first


def test_no_port_is_one_the_kernel_gives_to_clients() -> None:
    """Else a client could take the place of a server that restarts."""
    lowest, highest = map(int, ports.EPHEMERAL.read_text().split())
    assert not [port for port in ports.free_ports(50) if lowest <= port <= highest]


def test_a_child_is_started_from_the_main_thread_only() -> None:
    """Linux would end it with the thread that started it."""
    refused: list[str] = []

    def start() -> None:
        try:
            child.bound(["true"])
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert len(refused) == 1


def test_a_log_that_grows_too_large_is_set_aside_while_it_is_written(tmp_path: Path) -> None:
    """Its writer goes on at the new end; nothing of before is lost."""
    file = tmp_path / "admit.0.log"
    with file.open("ab", buffering=0) as writer:
        writer.write(b"before\n" * 100)
        logfiles.keep_bounded(file, bytes_max=700)
        assert file.stat().st_size == 700
        logfiles.keep_bounded(file, bytes_max=699)
        writer.write(b"after\n")
    assert file.read_bytes() == b"after\n"
    assert (tmp_path / "admit.0.log.1").read_bytes() == b"before\n" * 100


def test_following_sees_new_lines_new_files_and_emptied_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line by line, whatever happens to the files; an unfinished line waits for its end."""
    monkeypatch.setattr(logfiles, "POLL_S", 0.0)
    first, second = tmp_path / "one.0.log", tmp_path / "one.1.log"
    steps = iter(
        [(first, "old\n"), (first, "old\nnew\nha"), (first, "old\nnew\nhalf\n"), (second, "other\n"), (first, "x\n")]
    )

    def files() -> list[Path]:
        """Asked for once at the beginning and then at each look: something has happened each time."""
        file, content = next(steps)
        file.write_text(content)
        return sorted(tmp_path.glob("*.log"))

    seen = logfiles.follow(files)
    assert [next(seen) for _ in range(4)] == [(first, "new"), (first, "half"), (second, "other"), (first, "x")]


def test_a_json_line_is_shown_as_a_person_reads_it() -> None:
    """Time, level, message, case, error; anything else as it is."""
    line = {"ts": "2026-01-02T03:04:05.678Z", "level": "error", "process": "plan", "msg": "failed", "case_id": "c1"}
    error = {"type": "ValueError", "text": "why", "at": ["outer.py:1 f", "inner.py:2 g"]}
    shown = logfiles.readable(json.dumps({**line, "error": error}))
    assert shown.endswith("error   failed  case_id c1  (ValueError: why at inner.py:2 g)")
    assert logfiles.readable("Exception in thread") == "Exception in thread"
    assert logfiles.readable('{"level": 1}') == '{"level": 1}'


def test_words_that_can_be_written_nowhere_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ended is told of before it is started again, and the whole system before it is stopped."""

    def echo(_: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(up.click, "echo", echo)
    up._say("plan.0", "ended: exit code 1; again after 0.5 s")


def test_a_full_disk_ends_no_bounding_of_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file that cannot be set aside keeps no other from it, those of no process too; said once."""
    tried: list[str] = []
    said: list[str] = []
    enough = asyncio.Event()

    def keep(file: Path) -> None:
        tried.append(file.name)
        if tried.count("up.0.log") == 3:
            enough.set()
        if file.name == "admit.0.log":
            raise OSError(errno.ENOSPC, "No space left on device")

    def say(name: str, what: str) -> None:
        said.append(f"{name} {what}")

    async def run() -> None:
        kept = supervisor.Supervisor(say, [tmp_path / "up.0.log"])
        await asyncio.wait_for(enough.wait(), 5)
        kept.close()

    parts = [supervisor.Part(stage=name, command=(), log=lambda _, n=name: tmp_path / f"{n}.0.log") for name in STAGES]
    slots = [SimpleNamespace(part=part, slot=0, name=f"{part.stage}.0", kill=lambda: None) for part in parts]
    monkeypatch.setattr(supervisor.Supervisor, "processes", lambda _: slots)
    monkeypatch.setattr(supervisor, "LOGS_S", 0.0)
    monkeypatch.setattr(logfiles, "keep_bounded", keep)
    asyncio.run(run())
    assert [line.partition(":")[0] for line in said] == ["admit.0 its log grows, it cannot be kept bounded"]
