"""Models that answer outside of the pipeline: by the settings of whoever asks."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from aios.infra import rehearsing


def test_models_are_asked_by_the_settings_of_the_folder_that_the_command_is_given_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its aios.yaml is read, as for every other command, and not that of the repository."""
    monkeypatch.setattr(rehearsing, "PYTHON", Path(sys.executable))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aios.yaml").write_text("inference: {colour: red}\n", encoding="utf-8")
    with pytest.raises(click.exceptions.Exit):
        rehearsing.ask("generate", [])
    assert "aios.yaml:1:13: inference: unknown key colour" in capsys.readouterr().err
