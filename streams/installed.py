"""What this installation has: the pools and the systems of the release, and a team's own (extensions.py).

Enters: the settings, as they are when this is first asked, which is when the stages are declared (topology.py). Leaves:
every pool, every system, by name. Guaranteed: read once, so that all of a process speaks of the same. They are apart
from the readers (pool_files.py, system_files.py), whose types the settings are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from aios.streams import config, extensions, pool_files, system_files
from aios.streams.config import InferenceSettings
from aios.streams.errors import ConfigError
from aios.streams.part import close_to
from aios.streams.pool_files import Pool
from aios.streams.system_files import System


@lru_cache(maxsize=1)
def pools() -> Mapping[str, Pool]:
    """By name, those of one process together, interactive first. Raises ConfigError, a line a mistake."""
    settings = config.read()
    found = pool_files.read(*extensions.folders(pool_files.FOLDER, settings.extensions.folder))
    check(found, settings.inference)
    return found


@lru_cache(maxsize=1)
def systems() -> Mapping[str, System]:
    """By name. Raises ConfigError, a line a mistake: of a file, or of settings that are no system's."""
    settings = config.read()
    found = system_files.read(*extensions.folders(system_files.FOLDER, settings.extensions.folder))
    wrong = [
        f"connectors.{section}.{name}: there is no system {name}{close_to(name, list(found))}"
        for section, named in (("options", settings.connectors.options), ("secrets", settings.connectors.secrets))
        for name in named
        if name not in found
    ]
    if wrong:
        raise ConfigError("\n".join(wrong))
    return found


def check(pools: Mapping[str, Pool], inference: InferenceSettings) -> None:
    """Raises ConfigError: a pool is asked elsewhere, and nobody says where."""
    away = [
        pool.pool
        for pool in pools.values()
        if (inference.engine or pool.engine) == "openai" and not (pool.server or inference.url)
    ]
    if away:
        raise ConfigError(
            f"the engine of {', '.join(away)} is openai, and it has no server: set inference.url, or `server` in the "
            "pool's file"
        )
