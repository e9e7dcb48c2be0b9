"""The command line as a whole: every noun loads, mistakes have their exit codes, workflows are shown."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner

from aios.infra import cli, rows
from aios.infra.cli import COMMANDS, aios
from aios.infra.commands.bench import BENCHES
from aios.infra.demo import kyc, meeting
from aios.infra.lazy import Lazy
from aios.infra.local.home import MARK, Home
from aios.infra.output import FAILED, NOT_FOUND, NOT_RUNNING, USAGE
from aios.streams import config
from aios.streams.errors import AiosError, ConfigError, Unavailable

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("words", [*([name] for name in COMMANDS), *(["bench", name] for name in BENCHES)])
def test_every_command_says_what_it_does(words: list[str]) -> None:
    """It stands where the help says, and its own help begins with a sentence."""
    group: click.Command = aios
    for word in words:
        assert isinstance(group, Lazy)
        found = group.get_command(click.Context(group), word)
        assert found is not None
        group = found
    assert group.help
    assert CliRunner().invoke(aios, [*words, "--help"]).exit_code == 0


def test_a_group_says_of_each_command_a_whole_sentence() -> None:
    """At 80 columns, as most terminals are."""
    for name in COMMANDS:
        group = aios.get_command(click.Context(aios), name)
        if isinstance(group, click.Group):
            said = CliRunner().invoke(aios, [name, "--help"], terminal_width=80).stdout
            assert "..." not in said.partition("Commands:")[2], name


def test_a_list_of_what_a_group_has_is_whole() -> None:
    for name, place in COMMANDS.items():
        group = aios.get_command(click.Context(aios), name)
        said = place.line.rstrip(".").partition(": ")[2]
        if isinstance(group, click.Group) and said:
            assert set(said.split(", ")) == set(group.list_commands(click.Context(group))), name


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "dlq/README.md",
        "inference_workers/README.md",
        "infra/prove/README.md",
        "processors/workflows/README.md",
    ],
)
def test_every_command_that_a_page_shows_exists(page: str) -> None:
    """With its options. In a block of commands, or quoted."""
    said = (ROOT / page).read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```(?:sh|text)\n(.*?)```", said, flags=re.DOTALL))
    shown = [
        *re.findall(r"^(?:\.venv/bin/)?aios (.+)$", blocks, flags=re.MULTILINE),
        *re.findall(r"`aios ([^`]+)`", said),
    ]
    assert shown
    for line in shown:
        unquoted = re.sub(r"""\"\$\(.*\)\"|'[^']*'|\"[^\"]*\"""", "…", line)
        words = re.split(r" (?:\||&&|#|>) ?", unquoted)[0].split()
        command: click.Command = aios
        while isinstance(command, click.Group) and words and words[0] != "…":
            command = _command_of(command, words.pop(0), line)
        known = {name for each in command.params for name in each.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, line


@pytest.mark.parametrize("line", [*kyc.NEXT, *meeting.NEXT])
def test_a_command_that_a_demo_leaves_its_reader_with_is_one(line: str) -> None:
    """With its arguments."""
    words = shlex.split(line)
    command: click.Command = aios
    while isinstance(command, click.Group):
        command = _command_of(command, words.pop(0), line)
    command.make_context(line, words)


def _command_of(group: click.Group, name: str, line: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None, line
    return found


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.csv", b"", "its first line names its columns"),
        ("other.csv", b"body,id\na,1\n", "no column is named text, which every event has: --set text=COLUMN"),
        ("twice.csv", b"text,id,text\na,1,b\n", "more than one column 'text'"),
        ("macintosh.csv", b"text,id\ra,1\r", "its first line names no columns"),
        ("letters.txt", b"text\na\n", "expected .csv or .jsonl"),
    ],
)
def test_a_file_that_is_no_table_of_events_is_wrong_usage(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """Said once and before anything is asked of Kafka, not once a row."""
    file = tmp_path / name
    file.write_bytes(content)
    result = CliRunner().invoke(aios, ["publish", str(file), "--workflow", "document.triage"])
    assert (result.exit_code, says in result.stderr) == (USAGE, True)


def test_a_quote_that_nobody_closed_swallows_no_rows(tmp_path: Path) -> None:
    """What stands behind it may be thousands of letters: they are one row that says so, and no case."""
    file = tmp_path / "in.csv"
    file.write_text('text\nfirst\n"second\nthird\n', encoding="utf-8")
    first, broken = rows.read(file)
    assert (first.fields, first.wrong) == ({"text": "first"}, "")
    assert (broken.line, broken.wrong.partition(":")[0]) == (3, "no CSV")


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (("--gateway", "ftp://127.0.0.1"), USAGE, "is no URL of a gateway"),
        (("--gateway", "127.0.0.1:8080"), USAGE, "is no URL of a gateway"),
        (("--gateway", "http://127.0.0.1:99999"), USAGE, "is no URL of a gateway"),
        (("--gateway", "http://["), USAGE, "is no URL of a gateway"),
        (("--gateway", "http://127.0.0.1:1", "--key", "a\nb"), USAGE, "characters that none has"),
        (("--gateway", "https://127.0.0.1:1/aios"), NOT_RUNNING, "does not answer"),
    ],
)
def test_a_reviewer_is_told_which_gateway_is_none(options: tuple[str, ...], status: int, says: str) -> None:
    """And a key never goes to an https address without TLS."""
    result = CliRunner().invoke(aios, ["review", "list", "--key", "k", *options])
    assert (result.exit_code, says in result.stderr) == (status, True)


def test_a_proxy_whose_server_is_away_is_told_as_such() -> None:
    """Its page is no answer of ours."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(502)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{proxy.server_port}"
        result = CliRunner().invoke(aios, ["review", "list", "--key", "k", "--gateway", url])
    says = f"Error: the gateway at {url} does not answer; what stands there says 502 Bad Gateway\n"
    assert (result.exit_code, result.stderr) == (NOT_RUNNING, says)


def test_a_reviewer_without_a_tenants_key_reads_by_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine; a file goes before a key of the environment."""
    bearers: list[str | None] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            bearers.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "token").write_text("aios_file\n")
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    monkeypatch.setenv("AIOS_TOKEN", "aios_named")
    monkeypatch.delenv("KEY", raising=False)
    config.load.cache_clear()
    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        words = ["review", "list", "--gateway", f"http://127.0.0.1:{server.server_port}"]
        for more in ([], ["--key", "aios_key"], ["--key", "aios_key", "--token-file", str(tmp_path / "token")]):
            assert CliRunner().invoke(aios, [*words, *more]).exit_code == 0
        server.shutdown()
    config.load.cache_clear()
    assert bearers == ["Bearer aios_named", "Bearer aios_key", "Bearer aios_file"]


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable("Kafka does not answer"), NOT_RUNNING), (ConfigError("no such tenant"), FAILED)]
)
def test_what_does_not_answer_is_told_from_what_failed(
    error: AiosError, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every command that leaves it to the program itself: a script tries the first again, and not the second."""

    def ends() -> None:
        raise error

    monkeypatch.setattr(cli, "aios", ends)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (status, f"Error: {error}\n")


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`aios` as a process of its own."""
    told = {**os.environ, "PYTHONSAFEPATH": "1", **environment}
    command = [sys.executable, "-m", "aios.infra", *words]
    return subprocess.run(command, env=told, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60)


def test_a_file_or_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """By every command, and without a traceback."""
    nowhere = tmp_path / "nowhere" / "picture.svg"
    drawn = run("workflow", "show", "document.triage", "--svg", str(nowhere))
    assert (drawn.returncode, drawn.stderr) == (FAILED, f"Error: {nowhere}: No such file or directory\n")
    (tmp_path / MARK).write_text("{}")
    (tmp_path / "run").touch()
    started = run("up", AIOS_HOME=str(tmp_path))
    assert (started.returncode, started.stderr) == (FAILED, f"Error: {tmp_path / 'run'}: File exists\n")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_lacks_a_sign_shows_its_number(encoding: str) -> None:
    shown = run("workflow", "show", "document.triage", PYTHONIOENCODING=encoding)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "without a person" in shown.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"text,urgent\n\xff\xfe,yes\n", "is no CSV file in UTF-8"),
        (b"urgent,text\nyes\n", "1 rows have no cell for text or urgent"),
        (b"text,late\na,yes\n", "no rows with the columns text and urgent"),
    ],
)
def test_a_file_of_labels_that_is_none_is_wrong_usage(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "labelled.csv"
    file.write_bytes(content)
    result = CliRunner().invoke(aios, ["policy", "measure", "urgent@1", "--on", str(file), "--label", "urgent"])
    assert (result.exit_code, says in result.stderr) == (USAGE, True)
    file.write_bytes(b"\xef\xbb\xbftext,urgent\nplease hurry,yes\n")
    result = CliRunner().invoke(aios, ["policy", "measure", "urgent@1", "--on", str(file), "--label", "urgent"])
    assert result.exit_code == 0


def test_up_beside_a_running_system_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Detached too, though that system is ready."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    config.load.cache_clear()
    home = Home(tmp_path)
    home.prepare()
    home.publish({})
    with home.lock():
        result = CliRunner().invoke(aios, ["up", "--detach"])
    config.load.cache_clear()
    assert (result.exit_code, "`aios down` stops it" in result.output) == (FAILED, True)


def test_a_query_that_never_ends_ends_at_ctrl_c(tmp_path: Path) -> None:
    """DuckDB hears no Python signal while it counts."""
    sql = "select count(*) from range(1000000) a, range(1000000) b, range(1000000) c"
    command = [sys.executable, "-m", "aios.infra", "query", sql]
    with subprocess.Popen(command, env={**os.environ, "AIOS_HOME": str(tmp_path)}, stderr=subprocess.PIPE) as asked:
        deadline = time.monotonic() + 30
        while psutil.Process(asked.pid).cpu_times().user < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        asked.send_signal(signal.SIGINT)
        try:
            assert asked.wait(10) == -signal.SIGINT
        finally:
            asked.kill()


def test_a_folder_without_a_chain_is_not_sound(tmp_path: Path) -> None:
    """Somebody who named the wrong folder, or whose chain is gone, is not calmed."""
    assert CliRunner().invoke(aios, ["audit", "verify", "--folder", str(tmp_path)]).exit_code == NOT_FOUND


def test_a_home_that_never_ran_is_not_called_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was audited there, which is not the same as a sound chain; a head noted earlier makes it a broken one."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    assert CliRunner().invoke(aios, ["audit", "verify"]).exit_code == NOT_FOUND
    noted = ["audit", "verify", "--expect", f"3:{'0' * 64}"]
    assert CliRunner().invoke(aios, noted).exit_code == FAILED


def test_a_command_that_is_none_is_wrong_usage() -> None:
    """Of either group."""
    assert CliRunner().invoke(aios, ["upp"]).exit_code == USAGE
    assert CliRunner().invoke(aios, ["bench", "everything"]).exit_code == USAGE


def test_the_shipped_workflow_is_sound_and_shown_with_what_it_owes() -> None:
    """`aios workflow check`, and `show` for people and scripts; a name that is none exits 3."""
    run = CliRunner().invoke
    assert run(aios, ["workflow", "check"]).exit_code == 0
    shown = run(aios, ["workflow", "show", "document.triage"]).stdout
    assert "without a person" in shown
    assert "■ routed" in shown
    (plain,) = json.loads(run(aios, ["workflow", "show", "document.triage", "--json"]).stdout)
    assert set(plain["objectives"]) == {"interactive_p95_s", "bulk_p95_s", "without_person_min"}
    assert plain["steps"]["classify"]["kind"] == "infer"
    assert run(aios, ["workflow", "show", "none"]).exit_code == NOT_FOUND


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("scale", "classify=²"), USAGE, "expected STAGE=N"),
        (("audit", "verify", "--expect", f"²:{'0' * 64}"), USAGE, "--expect takes N:HASH"),
        (("audit", "show", ""), USAGE, "say which case"),
        (("meeting", "read", "tomorrow at 3", "--zone", "Europe"), USAGE, "no time zone 'Europe'"),
        (("meeting", "read", "tomorrow at 3", "--zone", ""), USAGE, "no time zone ''"),
        (("case", "tell", "c", "paid", "--once", "ключ"), USAGE, "printable ASCII"),
        (("case", "tell", "c", "paid", "--once", "a\nb"), USAGE, "printable ASCII"),
        (("topology", "--format", "acls", "--input", "claims $(id)"), USAGE, "a version, as in"),
        (("system", "check", str(ROOT / "schemas" / "avro")), FAILED, "there is no .yaml file"),
    ],
)
def test_what_is_no_number_id_or_zone_is_wrong_usage(
    words: tuple[str, ...], status: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no traceback."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    config.load.cache_clear()
    result = CliRunner().invoke(aios, words)
    config.load.cache_clear()
    assert (result.exit_code, says in result.stderr) == (status, True)


def test_down_leaves_a_folder_alone_that_is_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies under the same names there is somebody else's."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    theirs = [tmp_path / "run" / name for name in ("system.json", "metrics/node.prom", "control.sock")]
    theirs[1].parent.mkdir(parents=True)
    for file in theirs:
        file.touch()
    for is_home in (False, True):
        config.load.cache_clear()
        assert CliRunner().invoke(aios, ["down"]).stdout == f"nothing runs in {tmp_path}\n"
        assert [file.exists() for file in theirs] == [not is_home] * 3
        (tmp_path / MARK).touch()
    config.load.cache_clear()


def test_nothing_runs_in_a_home_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is there anything that a killed system may have left."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    config.load.cache_clear()
    result = CliRunner().invoke(aios, ["down"])
    config.load.cache_clear()
    assert (result.exit_code, result.stdout) == (0, f"nothing runs in {tmp_path / 'file'}\n")


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://h:1", "redis://h:port/0", "redis://h:70000/0", "redis://:pa/ss@h"]
)
def test_an_address_of_no_redis_is_a_wrong_setting(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every command, with the variable that it is; what stands there is not repeated, a password may."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    monkeypatch.setenv("AIOS_REDIS__URL", url)
    config.load.cache_clear()
    result = CliRunner().invoke(aios, ["case", "list"])
    config.load.cache_clear()
    assert result.exit_code == FAILED
    assert "redis.url (AIOS_REDIS__URL): " in result.stderr
    assert "no URL of a Redis or Valkey" in result.stderr
    assert url not in result.stderr
    assert "'pa'" not in result.stderr
