"""One optimizer's update of one element, written out as the nodes of a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

from hpcad.errors import ConfigError
from hpcad.optim.formula import Formula
from hpcad.program.kernels.ir import Node

if TYPE_CHECKING:
    from hpcad.optim.optimizer import Optimizer


CLIP = "clip"  # the run-time number that gradients are multiplied by; the last one


@dataclass(frozen=True)
class Rule:
    """From old values to new ones.

    Operands are, in this order: parameters, gradients, the slots, and (where decay differs from
    element to element) a mask that says which are decayed.

    Attributes
    ----------
    nodes : tuple of Node
    results : tuple of (int, int)
        Node and the operand that it is stored in: the parameters, then the slots.
    scalars : tuple of str
        Names of the run-time numbers.
    """

    nodes: tuple[Node, ...]
    results: tuple[tuple[int, int], ...]
    scalars: tuple[str, ...]


def write_rule(optimizer: Optimizer, dtype: str, decays: bool | None) -> Rule:
    """Call an optimizer's ``decay`` and ``update`` on terms.

    Parameters
    ----------
    optimizer : Optimizer
    dtype : str
        Of all arrays but the mask.
    decays : bool or None
        Whether weights decay; None where a mask says which.

    Raises
    ------
    ConfigError
        The rule calls something that cannot be part of a fused pass.
    """
    formula = Formula(dtype)
    names = (*optimizer.number_names(), CLIP)
    now = SimpleNamespace(**{name: formula.scalar(i) for i, name in enumerate(names)})
    p, g, *slots = (formula.load(i) for i in range(2 + len(optimizer.slots)))
    try:
        if optimizer.needs_norm:
            g = g * now.clip
        if decays is None:
            mask = formula.load(2 + len(slots), "bool")
            p, g = (
                kept if changed is kept else formula.apply("where", mask, changed, kept)
                for changed, kept in zip(optimizer.decay(p, g, now), (p, g), strict=True)
            )
        elif decays:
            p, g = optimizer.decay(p, g, now)
        p, state = optimizer.update(p, g, slots, now)
    except TypeError as error:
        raise ConfigError(
            f"{type(optimizer).__name__}.update() cannot become one pass over the parameters: "
            f"{error}; it may use arithmetic, numbers of now, and the functions in "
            "hpcad.optim.formula.FUNCTIONS"
        ) from error
    operands = (0, *range(2, 2 + len(slots)))
    places = (term.place for term in (p, *state))
    return Rule(formula.nodes, tuple(zip(places, operands, strict=True)), names)
