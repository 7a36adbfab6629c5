"""Messages between two ranks, and the messages back that are their adjoints.

Over the stacked arrays of the two ranks, ``send`` on one and ``recv`` on the other are

    (x_source, t_dest)  ->  (0, x_source)

whose transpose ``(g_source, g_dest) -> (g_dest, 0)`` is ``recv`` on the source and ``send`` on the
destination: each is the other's adjoint. That of ``sendrecv`` has source and destination
exchanged. So a derivative waits for no message that the program itself would not wait for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.parallel.collectives.collective import linear
from hpcad.parallel.communicator import Communicator
from hpcad.primitives import shapes

Peer = int | None


def _send(x: np.ndarray, *, peer: int, tag: int, communicator: Communicator) -> np.ndarray:
    communicator.send(x, peer, tag)
    return np.zeros_like(x)


def _receive(x: np.ndarray, *, peer: int, tag: int, communicator: Communicator) -> np.ndarray:
    communicator.receive(x, peer, tag)
    return x


def _sendrecv(
    x: np.ndarray, *, dest: Peer, source: Peer, tag: int, communicator: Communicator
) -> np.ndarray:
    out = np.zeros_like(x)
    communicator.sendrecv(x, dest, out, source, tag)
    return out


def _exchanged(*, dest: Peer, source: Peer, tag: int, communicator: Communicator) -> dict[str, Any]:
    return {"dest": source, "source": dest, "tag": tag, "communicator": communicator}


send: Primitive = linear("send", _send, shapes.same, lambda: recv)
recv: Primitive = linear("recv", _receive, shapes.same, lambda: send)
sendrecv: Primitive = linear("sendrecv", _sendrecv, shapes.same, lambda: sendrecv, _exchanged)
