"""Setup does again what is not there any more, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aios.infra import setup


def test_an_environment_that_was_deleted_gets_aios_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two for itself: without the package every worker dies at its start."""
    made: list[Path] = []

    def environment(folder: Path, *_: object) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").touch()

    def run(*command: str, **_: object) -> None:
        if "-e" in command:
            folder = Path(command[command.index("--python") + 1]).parent.parent
            (folder / "bin" / "aios").touch()
            made.append(folder)

    for name, folder in (("PIPELINE", ".venv"), ("WORKERS", ".venv-inference"), ("ROOT", ".")):
        monkeypatch.setattr(setup, name, tmp_path / folder)
    monkeypatch.setattr(setup, "_environment", environment)
    monkeypatch.setattr(setup, "_do", run)
    (tmp_path / "pyproject.toml").touch()

    def again() -> None:
        for step in setup._steps():
            if ("environment" in step.what or "aios" in step.what) and not step.done:
                setup._run(step, step.what)

    again()
    assert sorted(made) == [tmp_path / ".venv", tmp_path / ".venv-inference"]
    again()
    assert len(made) == 2
    shutil.rmtree(tmp_path / ".venv-inference")
    again()
    assert made[2:] == [tmp_path / ".venv-inference"]
