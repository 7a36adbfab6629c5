"""The namespace users write in: ``import hpcad.numpy as hnp``.

Functions take arrays or tensors and differentiate through tensors; names and call forms are those
of the Python array API standard and of NumPy. One file per chapter of the standard.
"""

from hpcad.numpy import fft as fft
from hpcad.numpy import linalg as linalg
from hpcad.numpy import methods as methods  # gives tensors the methods of NumPy's arrays
from hpcad.numpy.calculus import *
from hpcad.numpy.covariance import *
from hpcad.numpy.creation import *
from hpcad.numpy.cumulative import *
from hpcad.numpy.dtypes import *
from hpcad.numpy.elementwise import *
from hpcad.numpy.elementwise_options import *
from hpcad.numpy.indexing import *
from hpcad.numpy.info import *
from hpcad.numpy.joining import *
from hpcad.numpy.linear_algebra import *
from hpcad.numpy.manipulation import *
from hpcad.numpy.matrices import *
from hpcad.numpy.nan_statistics import *
from hpcad.numpy.order_statistics import *
from hpcad.numpy.padding import *
from hpcad.numpy.polynomials import *
from hpcad.numpy.ranges import *
from hpcad.numpy.searching import *
from hpcad.numpy.sets import *
from hpcad.numpy.sorting import *
from hpcad.numpy.special import *
from hpcad.numpy.statistical import *
from hpcad.numpy.utility import *

__array_api_version__ = "2025.12"
