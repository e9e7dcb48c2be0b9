"""How large what an expression reads may be, as contracts say: sizes for cel_cost.py before there is an event. Pure.

Enters: shapes (cel_types.py). Leaves: extents; of an expression, why it may compute too much. Guaranteed: a list whose
contract bounds it has as many items as that allows; of one that nothing bounds, and of the length of texts, nothing is
claimed, so that nothing sound is refused: what these are is counted when there is a case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aios.processors.language.cel_types import ANY, Shape, merged
from aios.streams import cel_cost
from aios.streams.cel_cost import Extent
from aios.streams.expression import Expression


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that a value of this shape may be."""

    shape: Shape

    @property
    def items(self) -> int:
        return len(self.shape.fields) if self.shape.kind == "object" else self.shape.most

    @property
    def weight(self) -> int:
        if self.shape.kind == "object":
            return 1 + sum(1 + Bound(one).weight for one in self.shape.fields.values())
        return 1 + self.shape.most * Bound(self.shape.of).weight if self.shape.of is not None else 1

    def field(self, name: str) -> Extent:
        return Bound(self.shape.fields.get(name) or self.shape.of or ANY)

    def item(self) -> Extent:
        return Bound(self.shape.of or merged(self.shape.fields.values()))


def much(expression: Expression, names: Mapping[str, Shape]) -> str:
    """Why it may compute too much, as far as contracts bound what it reads; empty: it does not."""
    try:
        cel_cost.steps(expression.tree, {name: Bound(shape) for name, shape in names.items()})
    except cel_cost.TooMuch as error:
        lists = ", and in it ".join(f"{name} with up to {items} items" for name, items in error.loops)
        return (
            f"`{expression.source}` may compute more than {cel_cost.STEPS_MAX} steps over {lists}: give a list "
            f"a smaller bound in its contract (aios:max), or ask for its items in a map"
        )
    return ""
