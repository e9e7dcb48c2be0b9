"""What a command asks of a system, or why it can never be answered there. Pure.

Enters: a connector.requested.v1, decoded, and what its system can be asked. Leaves: the operation with its request, or
the answer `failed`. Guaranteed: who calls and who only wants to know (a dry run of a replay job) judge by the same
rules; no request's content is in an answer's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from aios.processors.connectors.connector import Operation
from aios.processors.connectors.course import Answer, failed
from aios.schemas.models import ConnectorRequested
from aios.streams.errors import ConfigError


class Understood(NamedTuple):
    operation: Operation
    request: BaseModel


def understood(
    name: str, operations: Callable[[], Mapping[str, Operation]], command: ConnectorRequested
) -> Understood | Answer:
    """name: of the system. operations: raises ConfigError while its connector cannot be loaded."""
    if command.system != name:
        return failed("wrong_system", f"this is {name}, not {command.system}")
    try:
        there = operations()
    except ConfigError as error:
        return failed("no_connector", f"{name} cannot be asked here: {error}")
    operation = there.get(command.operation)
    if operation is None:
        return failed("unknown_operation", f"{name} can {', '.join(there)}")
    if command.effect not in operation.effects:
        given = ", ".join(sorted(operation.effects))
        return failed("effect_not_given", f"{command.operation} of {name} gives {given}, not {command.effect}")
    try:
        return Understood(operation, operation.request.model_validate_json(command.request))
    except ValidationError as error:
        wrong = ", ".join(sorted({".".join(map(str, each["loc"])) or "all of it" for each in error.errors()}))
        return failed("request_broken", f"it does not fit {operation.request.__name__}: {wrong}")
