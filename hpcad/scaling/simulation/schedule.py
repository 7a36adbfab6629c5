"""Which collectives a step makes, and what waits for them: a workload as segments and collectives.

data parallel
    One allreduce for each bucket, ready when its last gradient is written; the update waits for
    all of them (Li et al. 2020, doi:10.14778/3415478.3415530). Blocking: all are ready at the end
    of the backward pass.
sharded
    As PyTorch's FSDP2 does (Zhao et al. 2023, doi:10.14778/3611540.3611569): every layer's
    parameters are gathered before its forward pass and once more before its backward pass, each
    one layer ahead, and its gradients are scattered as sums after its backward pass. The last
    layer keeps its parameters from the forward to the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hpcad.scaling.simulation.collectives import Kind, Stage
from hpcad.scaling.simulation.timeline import Collective, Segment
from hpcad.scaling.simulation.workload import Array, Workload

#: Stages of a collective of so many bytes.
Costs = Callable[[float, Kind], tuple[Stage, ...]]


def schedule(
    workload: Workload, times: tuple[Array, Array, Array], costs: Costs
) -> tuple[list[Segment], list[Collective]]:
    """Segments and collectives of a step.

    Parameters
    ----------
    times
        Of the pieces of forward pass, backward pass and update; :meth:`Workload.seconds`.
    costs
        Stages of a collective; none with one rank.
    """
    if workload.reduction == "sharded":
        return _sharded(workload, times, costs)
    return _data_parallel(workload, times, costs)


def _data_parallel(
    workload: Workload, times: tuple[Array, Array, Array], costs: Costs
) -> tuple[list[Segment], list[Collective]]:
    forward, backward, update = times
    messages = workload.messages()
    done = np.concatenate([[0.0], np.cumsum(backward)])
    segments, collectives, reached = [Segment(float(forward.sum()))], [], 0.0
    for message in messages:
        segments.append(Segment(float(done[message.after]) - reached))
        reached = float(done[message.after])
        collectives.append(Collective(len(segments) - 1, costs(message.nbytes, "allreduce")))
    segments.append(Segment(float(done[-1]) - reached))
    if workload.reduction == "blocking":
        end = len(segments) - 1
        collectives = [Collective(end, collective.stages) for collective in collectives]
    segments.append(Segment(float(update.sum()), needs=len(collectives) - 1))
    return segments, collectives


def _sharded(
    workload: Workload, times: tuple[Array, Array, Array], costs: Costs
) -> tuple[list[Segment], list[Collective]]:
    forward, backward, update = times
    layers = len(workload.layer_bytes)
    collectives: list[Collective] = []
    gathered: list[int] = []  # number of the collective that each segment needs

    def gather(layer: int, after: int) -> None:
        nbytes = workload.layer_bytes[layer][0]
        collectives.append(Collective(after, costs(nbytes, "allgather")))
        gathered.append(len(collectives) - 1)

    for layer in range(layers):
        gather(layer, layer - 2)  # while the layer before it computes
    gathered.append(-1)  # the last layer has kept its parameters
    for turn in range(layers):  # of the backward pass
        layer, segment = layers - 1 - turn, layers + turn
        if layer > 0:
            gather(layer - 1, segment - 1)
        nbytes = workload.layer_bytes[layer][1]
        collectives.append(Collective(segment, costs(nbytes, "reduce-scatter")))
    seconds = [*forward, *backward]
    segments = [Segment(float(s), n) for s, n in zip(seconds, gathered, strict=True)]
    segments.append(Segment(float(update.sum()), needs=len(collectives) - 1))
    return segments, collectives
