"""Primitive, tensor, tape, and what is done to the tape."""

from hpcad.autodiff.backward import backward
from hpcad.autodiff.check import check_vjp
from hpcad.autodiff.grad import grad, value_and_grad, vjp
from hpcad.autodiff.numerical import NumericalDerivative, directional, numerical_gradient
from hpcad.autodiff.parameter import GradientSink, Parameter
from hpcad.autodiff.primitive import PRIMITIVES, Primitive
from hpcad.autodiff.state import no_grad
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import Tensor, tensor, value_of

__all__ = [
    "PRIMITIVES",
    "GradientSink",
    "NumericalDerivative",
    "Parameter",
    "Primitive",
    "Tape",
    "Tensor",
    "backward",
    "check_vjp",
    "directional",
    "grad",
    "no_grad",
    "numerical_gradient",
    "tensor",
    "value_and_grad",
    "value_of",
    "vjp",
]
