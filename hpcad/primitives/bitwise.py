"""Operations on the bits of integers and booleans; none has a derivative."""

from __future__ import annotations

import numpy as np

from hpcad.primitives.builders import constant

# fmt: off
bitwise_and         = constant("bitwise_and",         np.bitwise_and)
bitwise_or          = constant("bitwise_or",          np.bitwise_or)
bitwise_xor         = constant("bitwise_xor",         np.bitwise_xor)
bitwise_invert      = constant("bitwise_invert",      np.bitwise_invert)
bitwise_left_shift  = constant("bitwise_left_shift",  np.bitwise_left_shift)
bitwise_right_shift = constant("bitwise_right_shift", np.bitwise_right_shift)
bitwise_count       = constant("bitwise_count",       np.bitwise_count)
# fmt: on
