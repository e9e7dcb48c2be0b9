"""What weights are made of: files.json in each of the folders of models (streams/model_files.py), read strictly.

In: those files. Out: frozen Weights by name, which pools and cards name. Guaranteed: every file has its SHA-256 there,
so that a name stands for the same numbers everywhere; a name is in one of the files alone; what is missing or unknown
is said with file, name and key.

    form          made of                                                           by
    safetensors   a folder in an installed package                                  package, module, folder
    gguf          the same, one file of llama.cpp                                   package, module, folder
    adapter       other weights (base) and an adapter beside the cards              base, folder
    folder        a folder of safetensors, config and tokenizer on a disk, which    path, from the file's own folder
                  is read where it lies                                             if it does not begin with /
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from aios.streams import model_files
from aios.streams.errors import ConfigError

COMMITTED = "files.json"
NEEDS: Mapping[str, frozenset[str]] = {
    "safetensors": frozenset({"package", "module", "folder"}),
    "gguf": frozenset({"package", "module", "folder"}),
    "adapter": frozenset({"base", "folder"}),
    "folder": frozenset({"path"}),
}
"""By form: what says where it lies."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]  # a model's own and its version
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _relative(said: str) -> str:
    if said.startswith("/") or ".." in said.split("/"):
        raise ValueError("a path within the folder, without ..")
    return said


Relative = Annotated[str, AfterValidator(_relative)]


class Weights(BaseModel):
    """See the module. root: the folder of models whose files.json has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    form: Literal["safetensors", "gguf", "adapter", "folder"]
    licence: str
    files: Annotated[Mapping[Relative, Sha256], Field(min_length=1)]
    package: str = ""
    module: str = ""
    folder: Relative | None = None
    base: str = ""
    path: Path | None = None

    @model_validator(mode="after")
    def _as_its_form_needs(self) -> Weights:
        said = {name for name in ("package", "module", "folder", "base", "path") if getattr(self, name)}
        if said != NEEDS[self.form]:
            raise ValueError(f"form {self.form} is {', '.join(sorted(NEEDS[self.form]))}, and none else of these")
        return self

    @property
    def place(self) -> Path:
        """Of the form folder: where it lies."""
        assert self.path is not None  # its form needs it
        return self.root / self.path

    @property
    def committed(self) -> Path:
        """The file that says so."""
        return self.root / COMMITTED


def every() -> Mapping[str, Weights]:
    """By name. Raises ConfigError."""
    found: dict[str, Weights] = {}
    for root in model_files.FOLDERS:
        for name, weights in _of(root).items():
            if name in found:
                raise ConfigError(f"{weights.committed}: {name} is in {found[name].committed} already: rename yours")
            found[name] = weights
    return found


def of(name: str) -> Weights:
    """Raises ConfigError."""
    found = every()
    if name not in found:
        files = " or ".join(str(root / COMMITTED) for root in model_files.FOLDERS)
        raise ConfigError(f"there are no weights {name} in {files}; there are {', '.join(found)}")
    return found[name]


def _of(root: Path) -> Mapping[str, Weights]:
    path = root / COMMITTED
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return _BY_NAME.validate_python({name: {**one, "root": root} for name, one in said.items()})
    except ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is no JSON object of weights by name: {error}") from error


_BY_NAME = TypeAdapter(dict[Name, Weights])


# ── a folder on a disk ──


def listed(folder: Path) -> dict[str, Path]:
    """The files of a folder by their relative names, but for what is hidden: downloads leave notes of their own."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    shown = {name: path for name, path in found.items() if not any(part.startswith(".") for part in name.parts)}
    return {name.as_posix(): path for name, path in shown.items()}


def digest(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(root: Path, name: str, said: Mapping[str, Any]) -> Path:
    """Add weights to the files.json of a folder. Raises ConfigError: the name is taken."""
    if name in every():
        raise ConfigError(f"there are weights {name} already, in {every()[name].committed}")
    _BY_NAME.validate_python({name: {**said, "root": root}})
    path = root / COMMITTED
    others = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({**others, name: said}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.rename(path)
    return path
