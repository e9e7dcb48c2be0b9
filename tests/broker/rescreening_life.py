"""One life of the walk along decided cases, in a process that can be killed: python rescreening_life.py {json}.

It walks with a list of that name, version 2, until it is killed; with `dies`, it kills itself when everything is
raised and nothing is committed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any

from aios.infra.local import child
from aios.processors.connectors.rescreening import Rescreening
from aios.streams import failpoints
from aios.streams.config import Settings
from tests.unit.test_rescreen import NEW


def start(settings: Settings, name: str, *, dies: bool = False) -> Popen[bytes]:
    asked = {"settings": settings.model_dump(mode="json", exclude={"token"}), "name": name, "dies": dies}
    return child.start(
        [sys.executable, __file__, json.dumps(asked)],
        settings.home / "walk.log",
        {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


async def main(asked: dict[str, Any]) -> None:
    loaded = replace(NEW, listed=replace(NEW.listed, name=asked["name"]))
    walk = Rescreening(Settings(**asked["settings"]), lambda: loaded, lambda: 1_700_000_000_000)
    failpoints.arm("connectors.raised=kill" if asked["dies"] else "")
    await walk.walk()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
