"""Settings: one file, the environment on top, nothing unknown, no secret in the open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from aios.streams import config, installed
from aios.streams.config import KafkaSettings, Settings
from aios.streams.errors import ConfigError


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    config.load.cache_clear()
    yield
    config.load.cache_clear()


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "aios.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_anything_there_are_defaults() -> None:
    """A fresh machine needs no file; no address is set, so every part is started here."""
    settings = config.load()
    assert (settings.kafka.bootstrap_servers, settings.registry.url, settings.redis.url) == ("", "", "")
    assert settings.kafka.partitions == 6


def test_the_environment_stands_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name by name, not section by section; AIOS_CONFIG names another file."""
    other = write(tmp_path, "kafka: {bootstrap_servers: 'file:1', partitions: 12}\n").rename(tmp_path / "other.yaml")
    monkeypatch.setenv("AIOS_CONFIG", str(other))
    monkeypatch.setenv("AIOS_KAFKA__BOOTSTRAP_SERVERS", "env:1")
    settings = config.load()
    assert (settings.kafka.bootstrap_servers, settings.kafka.partitions) == ("env:1", 12)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("kafak: {}\n", "aios.yaml:1:1: unknown key kafak; did you mean kafka?"),
        ("kafka: {bootstrap: 'h:1'}\n", "aios.yaml:1:9: kafka: unknown key bootstrap; did you mean bootstrap_servers?"),
        ("home: x\nextension: {folder: .}\n", "aios.yaml:2:1: unknown key extension; did you mean extensions?"),
        ("kafka: {partitions: 0}\n", "aios.yaml:1:9: kafka.partitions"),
        ("gateway: {port: 70000}\n", "gateway.port"),
        ("registry: {url: 'aios:hunter2@registry:8081'}\n", "registry.url: no URL of a registry: http://HOST:PORT"),
        ("kafka: {properties: {sasl.password: hunter2}}\n", "sasl.password"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, names: str) -> None:
    """And a secret in the open is not repeated in the message."""
    write(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(names)) as caught:
        config.load()
    assert "hunter2" not in str(caught.value)


def test_a_wrong_variable_is_refused_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file says something of it."""
    write(tmp_path, "kafka: {partitions: 4}\n")
    monkeypatch.setenv("AIOS_KAFKA__PARTITIONS", "0")
    with pytest.raises(ConfigError, match=r"^wrong settings: kafka\.partitions \(AIOS_KAFKA__PARTITIONS\): "):
        config.load()
    monkeypatch.setenv("AIOS_KAFKA__PARTITIONS", "4")
    monkeypatch.setenv("AIOS_KAFKA__BOOTSTRAP", "h:1")
    with pytest.raises(
        ConfigError, match=r"kafka \(AIOS_KAFKA__BOOTSTRAP\): unknown key bootstrap; did you mean bootstrap_serv"
    ):
        config.load()


@pytest.mark.parametrize("section", ["options", "secrets"])
def test_what_is_set_for_a_system_that_there_is_none_of_is_refused(tmp_path: Path, section: str) -> None:
    """It would be set for nobody."""
    write(tmp_path, f"connectors: {{{section}: {{sanction: {{list: 'env:A'}}}}}}\n")
    installed.systems.cache_clear()
    try:
        with pytest.raises(ConfigError, match=rf"connectors\.{section}\.sanction: .*did you mean sanctions\?"):
            installed.systems()
    finally:
        installed.systems.cache_clear()


@pytest.mark.parametrize("name", ["AIOS_KAFAK__PARTITIONS", "AIOS_HOM", "AIOS_KAFKA__PARTITION"])
def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A typing error must not silently leave a default in place."""
    monkeypatch.setenv(name, "12")
    with pytest.raises(ConfigError):
        config.load()


def test_a_config_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a mistake that must not end in defaults."""
    monkeypatch.setenv("AIOS_CONFIG", "/no/such/aios.yaml")
    with pytest.raises(ConfigError, match=r"/no/such/aios\.yaml"):
        config.load()


def test_secrets_are_resolved_only_for_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file or the environment; settings themselves never hold one."""
    (tmp_path / "password").write_text("hunter2\n", encoding="utf-8")
    monkeypatch.setenv("KEY_PASSWORD", "hunter3")
    kafka = KafkaSettings(
        bootstrap_servers="h:1",
        properties={
            "security.protocol": "SASL_SSL",
            "sasl.password": f"file:{tmp_path / 'password'}",
            "ssl.key.password": "env:KEY_PASSWORD",
        },
    )
    assert "hunter" not in repr(Settings(kafka=kafka))
    assert config.client(kafka, acks="all") == {
        "bootstrap.servers": "h:1",
        "security.protocol": "SASL_SSL",
        "sasl.password": "hunter2",
        "ssl.key.password": "hunter3",
        "acks": "all",
    }


@pytest.mark.parametrize("reference", ["file:/no/such/file", "env:NO_SUCH_NAME", "hunter2"])
def test_a_secret_that_is_not_there_is_named_and_not_shown(reference: str) -> None:
    """The reference is named; something that is no reference is taken for the secret itself."""
    with pytest.raises(ConfigError) as caught:
        config.secret(reference)
    assert "hunter2" not in str(caught.value)


def test_a_secret_of_bytes_that_are_no_text_is_told_by_its_file(tmp_path: Path) -> None:
    """Made with `openssl rand 32`, say: what needs it waits for a person, as for one that is not there."""
    (tmp_path / "raw").write_bytes(b"\xff\xfe" * 16)
    with pytest.raises(ConfigError, match="raw holds bytes that are no text"):
        config.secret(f"file:{tmp_path / 'raw'}")


@pytest.mark.parametrize("content", [b"kafka: [1", b"\xff\xfe\x00", b"- a\n- b"])
def test_a_file_that_is_no_settings_is_named(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's mistake is said in a sentence, not in a traceback."""
    file = tmp_path / "aios.yaml"
    file.write_bytes(content)
    monkeypatch.setenv("AIOS_CONFIG", str(file))
    config.load.cache_clear()
    with pytest.raises(ConfigError):
        config.load()
