"""ReLU that a convolution applies itself, where cuDNN convolves.

Otherwise a kernel of its own would read and write all images once more. Behind pooling or
normalisation ReLU belongs to their kernels, and stays there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.primitives.convolution import conv
from hpcad.program.instruction import Program


def _conv_relu(x: Any, w: Any, b: Any = None, **params: Any) -> Any:
    return np.maximum(conv(x, w, b, **params), 0)


CONV_RELU = Primitive("conv_relu", _conv_relu, None, constant=True, register=False)


def join_relus(program: Program) -> Program:
    """Turn a convolution that nothing but ReLU reads into one; the program is changed in place."""
    users = program.consumers()
    returned = {out[0] for out in program.outputs if isinstance(out, tuple) and out}
    for relu in list(program.instructions):
        image = relu.args[0] if relu.name == "relu" else None
        if image is None or getattr(image, "origin", "") != "result" or image in returned:
            continue
        made = image.source
        if made.name == "conv" and users[image] == [relu]:
            made.op, made.outs = CONV_RELU, [relu.out]
            relu.out.source = made
            program.instructions.remove(relu)
    return program
