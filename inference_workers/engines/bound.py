"""Processes of an engine end with the worker they belong to, also when it is killed by SIGKILL.

Enters: the process that starts them. Leaves: a process that Linux kills when its parent dies. Guaranteed: a parent that
was dead before is noticed. The engine's own process calls bind_to(); vLLM calls bind() in each process that it starts
in turn, as a plugin (`vllm.general_plugins` in pyproject.toml): these outlive a killed owner with all their memory
otherwise, 2.6 GiB on a CPU, a GPU's whole share.
Linux means the parent's *thread* by it: a worker starts its engines from its main thread, where its event loop runs.
Rejected: a process group that somebody kills (who is killed himself kills nobody).
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def bind() -> None:
    """For vLLM's plugin: a process that nobody started through multiprocessing is not its."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        _die_with_parent(lambda: not parent.is_alive())


def bind_to(parent: int) -> None:
    """Die with this process, which has started the caller."""
    _die_with_parent(lambda: os.getppid() != parent)


def _die_with_parent(is_gone: Callable[[], bool]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if is_gone():
        os._exit(1)
