"""Which states to store while a loop runs whose length nobody knows yet.

When all places are taken, a stored state must go for each that comes. The choice here is greedy:
drop the state (or pass over the new one) so that stopping after the next step, or the one after
it, would cost the fewest runs. What is stored in the end is reversed by Revolve, which is optimal
for these states; only the choice of states can be worse than that of somebody who knew the
length. As long as there is a place for every state nothing is lost.

Dynamic checkpointing is due to Q. Wang, P. Moin and G. Iaccarino, "Minimal repetition dynamic
checkpointing algorithm for unsteady adjoint calculation", SIAM J. Sci. Comput. 31, 2009, and
P. Stumm and A. Walther, "New algorithms for optimal online checkpointing", SIAM J. Sci. Comput. 32,
2010. Theirs bound the repetitions of a step; the greedy choice has no such proof, but needs fewer
runs in total than the former, for all lengths that were tried.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpcad.autodiff.recomputation.revolve import advances


class OnlineStates:
    """The numbers of the states that are stored; the initial one always is.

    Attributes
    ----------
    slots : int
        States that may be stored at the same time, the initial one included.
    kept : list of int
        In ascending order.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.kept = [0]

    def visit(self, state: int) -> tuple[bool, int | None]:
        """Whether to store this state, which is the next one, and which one to drop for it."""
        if len(self.kept) < self.slots:
            self.kept.append(state)
            return True, None
        if self.slots == 1:
            return False, None
        ahead = (state + 1, state + 2)
        costs = _costs_without(self.kept, state, ahead, self.slots)
        dropped = min(range(len(costs)), key=costs.__getitem__) + 1
        if dropped == len(self.kept):
            return False, None
        gone = self.kept.pop(dropped)
        self.kept.append(state)
        return True, gone


def _costs_without(kept: Sequence[int], new: int, ahead: Sequence[int], slots: int) -> list[int]:
    """Cost, for dropping ``kept[1]``, ``kept[2]``, ... or ``new``, of stopping at ``ahead``."""
    states = [*kept, new]
    count = len(states)
    # Pieces before the dropped state have the slots they have now, those after it one more.
    before = [0] * (count + 1)
    for i in range(count - 1):
        before[i + 1] = before[i] + advances(states[i + 1] - states[i], slots - i)
    after = [0] * (count + 1)
    last = sum(advances(end - 1 - new, slots - count + 2) for end in ahead)
    after[count - 1] = last
    for i in range(count - 2, 0, -1):
        piece = advances(states[i + 1] - states[i], slots - i + 1)
        after[i] = after[i + 1] + len(ahead) * piece
    costs = []
    for k in range(1, count):
        start, free = states[k - 1], slots - k + 1
        if k == count - 1:
            merged = sum(advances(end - 1 - start, free) for end in ahead)
        else:
            merged = len(ahead) * advances(states[k + 1] - start, free)
        costs.append(len(ahead) * before[k - 1] + merged + after[k + 1] * (k < count - 1))
    return costs
