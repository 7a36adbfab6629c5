"""Primitive, tensor, tape, and what is done to the tape."""

from hpcad.autodiff.backward import backward
from hpcad.autodiff.check import check_vjp
from hpcad.autodiff.grad import grad, value_and_grad
from hpcad.autodiff.guard import unguarded
from hpcad.autodiff.jvp import jvp, linearize
from hpcad.autodiff.numerical import NumericalDerivative, directional, numerical_gradient
from hpcad.autodiff.parameter import GradientSink, Parameter
from hpcad.autodiff.primitive import PRIMITIVES, Primitive
from hpcad.autodiff.state import no_grad
from hpcad.autodiff.tape import Tape
from hpcad.autodiff.tensor import Tensor, tensor, value_of
from hpcad.autodiff.vjp import vjp

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
    "jvp",
    "linearize",
    "no_grad",
    "numerical_gradient",
    "tensor",
    "unguarded",
    "value_and_grad",
    "value_of",
    "vjp",
]
