"""Products that are drawn, bound on a device, and compared with NumPy."""

from __future__ import annotations

import numpy as np

from hpcad.backend.cublaslt import bind_product
from hpcad.backend.cublaslt.enums import EPILOGUES, numpy_type
from hpcad.backend.cublaslt.layout import NAMES

from .arrays import expected, host, put, tolerance

MASKS = {name for name, end in EPILOGUES.items() if end.mask}  # which only the library can read
ENDS = sorted({*EPILOGUES, "bgrad_a", "bgrad_b"} - {"BGRADA", "BGRADB"} - MASKS)
KIND = {name: EPILOGUES[NAMES.get(name, name)] for name in ENDS}


def run(xp, case):
    """Bind and call; the differences to what is expected, or None."""
    m, n, k, batch, types, end, alpha, beta, layouts, seed = case
    rng = np.random.default_rng(seed)
    small, result = map(numpy_type, types)
    draw = lambda dtype, *shape: rng.standard_normal(shape).astype(dtype)  # noqa: E731
    a, b = draw(small, *batch[0], m, k), draw(small, *batch[1], k, n)
    full = np.broadcast_shapes(*batch)
    c = draw(result, *full, m, n)
    bias = draw(result, m if end == "bgrad_a" else n) if KIND[end].bias else None
    aux = draw(result, *full, m, n) if KIND[end].aux else None
    wanted = expected(end, a, b, c, alpha, beta, bias, aux)
    if beta == 0:
        c = np.full_like(c, np.nan)  # is not read
    arrays = [put(xp, x, *layout) for x, layout in zip((a, b, c), layouts, strict=False)]
    given_bias = None if bias is None else xp.asarray(bias)
    lying = (layouts[2][0], -(m if layouts[2][0] else n) % 8, 0)
    given_aux = None if aux is None else put(xp, aux, *lying)
    call = bind_product(
        xp, *arrays, alpha=alpha, beta=beta, epilogue=end, bias=given_bias, aux=given_aux
    )
    if call is None:
        return None
    call()
    found = [None if x is None else host(xp, x) for x in (arrays[2], given_bias, given_aux)]
    return wanted, found, tolerance(types[1]) * (1 + k)


def check(xp, case):
    outcome = run(xp, case)
    if outcome is None:
        return False
    wanted, found, near = outcome
    for want, have in zip(wanted, found, strict=True):
        if want is not None:
            np.testing.assert_allclose(have.astype(np.float64), want, rtol=near, atol=near)
    return True
