"""Primitive, tensor, tape, and what is done to the tape."""

from hpcad.autodiff.backward import backward
from hpcad.autodiff.custom import primitive
from hpcad.autodiff.equations.implicit import fixed_point, newton, root
from hpcad.autodiff.equations.linear_solve import linear_solve
from hpcad.autodiff.equations.ode import odeint
from hpcad.autodiff.guard import unguarded
from hpcad.autodiff.numerical.check import check_grads, check_vjp
from hpcad.autodiff.numerical.directional import (
    NumericalDerivative,
    numerical_directional,
    numerical_jvp,
)
from hpcad.autodiff.numerical.hessian import numerical_hessian
from hpcad.autodiff.numerical.jacobian import (
    numerical_gradient,
    numerical_jacobian,
    numerical_vjp,
)
from hpcad.autodiff.parameter import GradientSink, Parameter
from hpcad.autodiff.primitive import PRIMITIVES, Primitive
from hpcad.autodiff.recomputation.remat import remat
from hpcad.autodiff.recomputation.sequence import remat_sequence, remat_while
from hpcad.autodiff.seeing import Expansion, Graph, anomaly, expand, graph
from hpcad.autodiff.state import no_grad
from hpcad.autodiff.tensor import Tensor, tensor, value_of
from hpcad.autodiff.transforms.grad import elementwise_grad, grad, grad_and_aux, value_and_grad
from hpcad.autodiff.transforms.jacobian import hessian, jacfwd, jacobian, jacrev
from hpcad.autodiff.transforms.jvp import jvp, linearize
from hpcad.autodiff.transforms.per_sample import per_sample_grad
from hpcad.autodiff.transforms.products import directional, ggnvp, hvp, laplacian, vhp
from hpcad.autodiff.transforms.recording import Tape
from hpcad.autodiff.transforms.vjp import vjp

__all__ = [
    "PRIMITIVES",
    "Expansion",
    "GradientSink",
    "Graph",
    "NumericalDerivative",
    "Parameter",
    "Primitive",
    "Tape",
    "Tensor",
    "anomaly",
    "backward",
    "check_grads",
    "check_vjp",
    "directional",
    "elementwise_grad",
    "expand",
    "fixed_point",
    "ggnvp",
    "grad",
    "grad_and_aux",
    "graph",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "laplacian",
    "linear_solve",
    "linearize",
    "newton",
    "no_grad",
    "numerical_directional",
    "numerical_gradient",
    "numerical_hessian",
    "numerical_jacobian",
    "numerical_jvp",
    "numerical_vjp",
    "odeint",
    "per_sample_grad",
    "primitive",
    "remat",
    "remat_sequence",
    "remat_while",
    "root",
    "tensor",
    "unguarded",
    "value_and_grad",
    "value_of",
    "vhp",
    "vjp",
]
