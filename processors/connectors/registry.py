"""Which class speaks to a system, and what it can be asked.

Enters: the name of a system (streams/system_files.py). Leaves: its operations, for whoever checks a workflow; its
connector, for whoever calls it. Guaranteed: a connector's module is imported when it is first asked for, so that one
whose libraries are missing stops no other.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from aios.processors.connectors.connector import Connector, Operation, Setup
from aios.streams import system_files
from aios.streams.config import Settings
from aios.streams.errors import ConfigError
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
    """What a shipped system can be asked. Raises ConfigError: there is none of that name, or it cannot be loaded."""
    found = system_files.shipped().get(system)
    if found is None:
        raise ConfigError(f"there is no system {system}; there are {', '.join(system_files.shipped())}")
    return operations_of(found)


def operation(system: str, name: str) -> Operation:
    """Raises ConfigError naming those that there are."""
    found = operations(system)
    if name not in found:
        raise ConfigError(f"{system} cannot be asked to {name}; it can {', '.join(found)}")
    return found[name]


def operations_of(system: System) -> Mapping[str, Operation]:
    """Of any system. Raises ConfigError when its connector cannot be loaded, or is not asked as its file says."""
    if system.operations:
        from aios.processors.connectors.http import operations_of as told

        found = told(system)
    else:
        found = _class(system.connector).operations
    lacking = [
        name for name, one in found.items() if system.endpoint and system.endpoint not in one.request.model_fields
    ]
    if lacking:
        raise ConfigError(f"{system.system}: its requests have no {system.endpoint} that names an endpoint: {lacking}")
    return found


def connector(system: System, settings: Settings) -> Connector:
    """Not open yet. Raises ConfigError when it cannot be loaded or lacks a setting."""
    options = {**system.options, **settings.connectors.options.get(system.system, {})}
    made: Connector = _class(system.connector)(Setup(system=system, settings=settings, options=options))
    return made


def _class(name: str) -> Any:
    module, _, attribute = CONNECTORS.get(name, "").partition(":")
    if not module:
        raise ConfigError(f"there is no connector {name}; there are {', '.join(CONNECTORS)}")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the connector {name} cannot be loaded: {error}") from error
