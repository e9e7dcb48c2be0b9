"""What a wheel of this repository holds: a sub-package or data file that is absent there works only when editable."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("schemas", "streams", "processors", "inference_workers", "sinks", "dlq", "infra")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
NOT_SHIPPED_FOLDERS = {"k8s", "prometheus"}  # `aios topology` makes them
NOT_SHIPPED = {".in", ".json", ".svg", ".md", ".csv"}  # of infra/bench/results, data of training, pages for readers


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tracked files, so that nothing is left in the tree."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        if (ROOT / line).is_file():
            (copy / line).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / line, copy / line)
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=copy, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = {
        f"aios/{line}"
        for line in listed.stdout.splitlines()
        if (ROOT / line).is_file()
        and Path(line).suffix not in NOT_SHIPPED
        and not NOT_SHIPPED_FOLDERS & set(Path(line).parts)
    }
    assert expected - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_the_command_line_runs_from_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """From another folder, without the repository on the path."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    program = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()];"
        f"sys.path.insert(0, {str(site)!r}); from aios.infra.cli import aios; aios(['workflow', 'check'])"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert str(site) in ran.stdout
