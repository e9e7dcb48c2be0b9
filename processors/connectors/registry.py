"""Which class speaks to a system, and what it can be asked.

Enters: the name of a system (streams/system_files.py). Leaves: its operations, for whoever checks a workflow; its
connector, for whoever calls it. Guaranteed: a connector's module is imported when it is first asked for, so that one
whose libraries are missing stops no other.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from aios.processors.connectors.connector import Connector, Operation, Setup
from aios.streams import installed
from aios.streams.config import Settings
from aios.streams.errors import ConfigError
from aios.streams.part import close_to
from aios.streams.system_files import System

CONNECTORS: Mapping[str, str] = {
    "sanctions": "aios.processors.connectors.sanctions:Sanctions",
    "assessment": "aios.processors.connectors.assessment:Assessment",
    "documents": "aios.processors.connectors.documents:Documents",
    "calendars": "aios.processors.connectors.calendars:Calendars",
    "correspondence": "aios.processors.connectors.correspondence:Correspondence",
    "webhook": "aios.processors.connectors.webhook:Webhook",
    "http": "aios.processors.connectors.http:Http",
}
"""By the `connector` of a system's file: module and class."""


def operations(system: str) -> Mapping[str, Operation]:
    """What a system can be asked. Raises ConfigError: there is none of that name, or it cannot be loaded."""
    found = installed.systems().get(system)
    if found is None:
        raise ConfigError(f"there is no system {system}{close_to(system, list(installed.systems()))}")
    return operations_of(found)


def operation(system: str, name: str) -> Operation:
    """Raises ConfigError naming those that there are."""
    found = operations(system)
    if name not in found:
        raise ConfigError(f"{system} cannot be asked to {name}; it can {', '.join(found)}")
    return found[name]


def operations_of(system: System) -> Mapping[str, Operation]:
    """Of any system. Raises ConfigError when its connector cannot be loaded, or is not asked as its file says."""
    found = _operations(system)
    if why := _unnamed(system, found):
        raise ConfigError(f"{system.system}: {why}")
    return found


def wrong(system: System) -> Iterator[tuple[str, str]]:
    """Why nobody speaks to it as its file says, with the key that says so. Raises ConfigError: a library is missing."""
    if system.connector not in CONNECTORS:
        yield "connector", f"there is no connector {system.connector}{close_to(system.connector, list(CONNECTORS))}"
    elif why := _unnamed(system, _operations(system)):
        yield "endpoint", why


def connector(system: System, settings: Settings) -> Connector:
    """Not open yet. Raises ConfigError when it cannot be loaded or lacks a setting."""
    options = {**system.options, **settings.connectors.options.get(system.system, {})}
    made: Connector = _class(system.connector)(Setup(system=system, settings=settings, options=options))
    return made


def _operations(system: System) -> Mapping[str, Operation]:
    if system.operations:
        from aios.processors.connectors.http import operations_of as told

        return told(system)
    found: Mapping[str, Operation] = _class(system.connector).operations
    return found


def _unnamed(system: System, operations: Mapping[str, Operation]) -> str:
    """Why its endpoints are named by nobody; empty: they are, or it has none."""
    lacking = [name for name, one in operations.items() if system.endpoint not in one.request.model_fields]
    if not system.endpoint or not lacking:
        return ""
    return f"requests of {', '.join(lacking)} have no field {system.endpoint} that names an endpoint"


def _class(name: str) -> Any:
    module, _, attribute = CONNECTORS.get(name, "").partition(":")
    if not module:
        raise ConfigError(f"there is no connector {name}; there are {', '.join(CONNECTORS)}")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the connector {name} cannot be loaded: {error}") from error
