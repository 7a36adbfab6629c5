"""The namespace users write in: ``import hpcad.numpy as hnp``.

Functions take arrays or tensors and differentiate through tensors; names and call forms are those
of the Python array API standard and of NumPy. One file per chapter of the standard.
"""

from hpcad.numpy.creation import *
from hpcad.numpy.cumulative import *
from hpcad.numpy.dtypes import *
from hpcad.numpy.elementwise import *
from hpcad.numpy.indexing import *
from hpcad.numpy.linear_algebra import *
from hpcad.numpy.manipulation import *
from hpcad.numpy.searching import *
from hpcad.numpy.sets import *
from hpcad.numpy.sorting import *
from hpcad.numpy.special import *
from hpcad.numpy.statistical import *
from hpcad.numpy.utility import *

__array_api_version__ = "2025.12"
