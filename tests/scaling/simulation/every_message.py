"""A step of every rank with every message: what the fast simulator is held to.

An event queue of tasks. A task (the computation of a piece, or a message) begins when all that it
waits for is done and its resource (a rank's processor, a rank's link of a level) is free, in the
order in which tasks come to the resource. A message keeps its sender's link busy for latency plus
bytes over bandwidth. For few ranks: their tasks are as many as their messages.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from dataclasses import dataclass, field


@dataclass
class Task:
    resource: object
    seconds: float
    waits_for: list[Task]
    end: float = -1.0
    followers: list[Task] = field(default_factory=list)
    open: int = 0


class EveryMessage:
    """``groups`` has members, latency and bandwidth of each level; bandwidth is a member's."""

    def __init__(self, groups):
        self.groups = groups
        self.tasks = []
        self.ranks = 1
        for members, _, _ in groups:
            self.ranks *= members

    def task(self, resource, seconds, waits_for):
        made = Task(resource, seconds, [t for t in waits_for if t is not None])
        self.tasks.append(made)
        return made

    def run(self):
        """The time at which the last task ends."""
        for task in self.tasks:
            task.open = len(task.waits_for)
            for before in task.waits_for:
                before.followers.append(task)
        queues, busy, events, count = defaultdict(deque), set(), [], 0

        def serve(resource, now):
            nonlocal count
            if resource not in busy and queues[resource]:
                task = queues[resource].popleft()
                busy.add(resource)
                count += 1
                heapq.heappush(events, (now + task.seconds, count, id(task), task))

        for task in self.tasks:
            if not task.open:
                queues[task.resource].append(task)
        for resource in list(queues):
            serve(resource, 0.0)
        now = 0.0
        while events:
            now, _, _, task = heapq.heappop(events)
            task.end = now
            busy.discard(task.resource)
            reached = [task.resource]
            for follower in task.followers:
                follower.open -= 1
                if not follower.open:
                    queues[follower.resource].append(follower)
                    reached.append(follower.resource)
            for resource in dict.fromkeys(reached):
                serve(resource, now)
        assert all(task.end >= 0 for task in self.tasks), "some tasks wait for ever"
        return now

    # -- collectives: from what each rank waits for, to what says that each rank is done --------

    def ring(self, circle, level, nbytes, passes, ready):
        """``passes`` = 2: an allreduce of the ranks of ``circle``; 1: one half of it."""
        _, latency, bandwidth = level
        n = len(circle)
        seconds = latency + nbytes / n / bandwidth
        sent = {}
        for turn in range(passes * (n - 1)):
            for i, rank in enumerate(circle):
                before = [ready[rank]] if turn == 0 else [sent[turn - 1, (i - 1) % n], ready[rank]]
                sent[turn, i] = self.task((rank, level), seconds, before)
        last = passes * (n - 1) - 1
        return {
            rank: self.task(("done", rank), 0.0, [sent[last, i], sent[last, (i - 1) % n]])
            for i, rank in enumerate(circle)
        }

    def halving(self, circle, level, nbytes, ready):
        """An allreduce of a power of two of ranks by recursive halving and doubling."""
        _, latency, bandwidth = level
        n, reached = len(circle), dict(ready)
        parts = [nbytes / 2 ** (k + 1) for k in range(n.bit_length() - 1)]
        for part, distance in [*_pairs(parts), *reversed(_pairs(parts))]:
            seconds = latency + part / bandwidth
            sent = {i: self.task((r, level), seconds, [reached[r]]) for i, r in enumerate(circle)}
            reached = {
                r: self.task(("done", r), 0.0, [sent[i], sent[i ^ distance]])
                for i, r in enumerate(circle)
            }
        return reached

    def hierarchical(self, nbytes, ready):
        """Two levels: rings in the groups, among the ranks of one place in all groups, and back."""
        (inside, latency, bandwidth), (outside, latency2, bandwidth2) = self.groups
        within = (inside, latency, bandwidth)
        # Each rank has its part of the group's link, since all of them send at a time.
        between = (outside, latency2, bandwidth2 / inside)
        groups = [range(g * inside, (g + 1) * inside) for g in range(outside)]
        reached = {}
        for group in groups:
            reached |= self.ring(list(group), within, nbytes, 1, ready)
        across = {}
        for place in range(inside):
            circle = [group[place] for group in groups]
            across |= self.ring(circle, between, nbytes / inside, 2, reached)
        found = {}
        for group in groups:
            found |= self.ring(list(group), within, nbytes, 1, across)
        return found


def _pairs(parts):
    return [(part, 1 << k) for k, part in enumerate(parts)]


def data_parallel(groups, forward, backward, update, messages, factors, reduce, passing=False):
    """Time of a step.

    ``passing``: messages of the next collective may pass while one is under way.

    ``messages`` are pairs of bytes and pieces of the backward pass; ``factors`` how much longer
    each rank computes; ``reduce(simulation, nbytes, ready)`` one of the collectives.
    """
    every = EveryMessage(groups)
    computed = {}
    for rank in range(every.ranks):
        last = every.task(("core", rank), forward * factors[rank], [])
        row = [last]
        for seconds in backward:
            last = every.task(("core", rank), seconds * factors[rank], [last])
            row.append(last)
        computed[rank] = row
    done, ends = dict.fromkeys(range(every.ranks)), []
    for nbytes, after in messages:
        # A message begins on a rank when the one before it is done there.
        ready = {
            rank: every.task(("ready", rank), 0.0, [computed[rank][after], done[rank]])
            for rank in range(every.ranks)
        }
        end = reduce(every, nbytes, ready)
        ends.append(end)
        if not passing:
            done = end
    for rank in range(every.ranks):
        waits = [computed[rank][-1], *(end[rank] for end in ends)]
        every.task(("core", rank), update * factors[rank], waits)
    return every.run()
