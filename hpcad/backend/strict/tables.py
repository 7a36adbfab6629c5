"""Which of NumPy's functions CuPy has, and which need care.

Found by comparing the namespaces of CuPy 14.2 and NumPy 2.4; a test compares them where CuPy is
installed.
"""

from __future__ import annotations


def names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


# Functions that CuPy does not have, by chapter.
LACKING = {
    "numpy": names(
        "asmatrix block bmat busday_count busday_offset datetime_as_string datetime_data "
        "einsum_path frompyfunc fromregex geomspace get_include getbufsize geterr geterrcall "
        "histogram_bin_edges info insert is_busday isnat matvec nanpercentile nanquantile "
        "nested_iters polyder polydiv polyint setbufsize seterr seterrcall show_runtime spacing "
        "unstack vecdot vecmat"
    ),
    "linalg": names(
        "diagonal matrix_norm multi_dot outer svdvals tensordot trace vecdot vector_norm"
    ),
    "fft": frozenset(),
}

# Special functions that CuPy has (`cupyx.scipy.special`).
SPECIAL = names(
    "bdtr bdtrc bdtri beta betainc betaincinv betaln binom boxcox boxcox1p cbrt chdtr chdtrc "
    "chdtri cosdg cosm1 cotdg digamma ellipeinc ellipj ellipk ellipkinc ellipkm1 entr erf "
    "erfc erfcinv erfcx erfinv exp1 exp10 exp2 expi expit expm1 expn exprel fdtr fdtrc fdtri "
    "gamma gammainc gammaincc gammainccinv gammaincinv gammaln gammasgn gdtr gdtrc huber i0 "
    "i0e i1 i1e inv_boxcox inv_boxcox1p j0 j1 k0 k0e k1 k1e kl_div lambertw log1p log_expit "
    "log_ndtr log_softmax loggamma logit logsumexp lpmv multigammaln nbdtr nbdtrc nbdtri ndtr "
    "ndtri pdtr pdtrc pdtri poch polygamma pseudo_huber psi radian rel_entr rgamma round "
    "shichi sici sinc sindg softmax sph_harm_y spherical_yn tandg wright_bessel xlog1py xlogy "
    "y0 y1 yn zeta zetac"
)
LINALG = names("expm lu lu_factor lu_solve solve_triangular")

# Of these, CuPy takes one matrix and no stacks.
ONE_MATRIX = names("expm lu lu_factor lu_solve solve_triangular")

# Ufuncs and special functions that have no complex version in CuPy.
REAL_ONLY = names(
    "erf erfc erfcx exp1 expi log_ndtr logical_and logical_not logical_or logical_xor ndtr"
)

# Keyword arguments that CuPy's functions (and the methods of that name) do not have.
_KEYWORDS = {
    "initial where": "amax amin max min nanmax nanmin nanprod nansum prod sum add.reduce "
    "multiply.reduce",
    "where": "all any mean nanmean",
    "correction mean where": "nanstd nanvar std var",
    "order stable": "argsort sort",
    "kind order": "argpartition partition",
    "max min": "clip",
    "keepdims": "count_nonzero",
    "kind": "isin",
    "mode": "take",
    "sorted": "unique",
    "weights": "percentile quantile",
    "axis": "lexsort",
    "upper": "cholesky",
    "hermitian": "svd",
    "hermitian rtol": "pinv matrix_rank",
    "out": "fft fft2 fftn hfft ifft ifft2 ifftn ihfft irfft irfft2 irfftn rfft rfft2 rfftn",
}
KEYWORDS = {name: names(words) for words, all_ in _KEYWORDS.items() for name in all_.split()}

# Methods of arrays.
METHODS = names(
    "all any argmax argmin argpartition argsort astype choose clip compress conj conjugate "
    "copy cumprod cumsum diagonal dot flatten max mean min nonzero partition prod ravel "
    "repeat reshape round searchsorted squeeze std sum swapaxes take trace transpose var"
)

# Methods of ufuncs, by ufunc.
UFUNC_METHODS = {
    "reduce": frozenset({"add", "multiply"}),
    "accumulate": frozenset({"add", "multiply"}),
    "reduceat": frozenset({"add"}),
    "at": names("add subtract maximum minimum bitwise_and bitwise_or bitwise_xor"),
}

# Answered from shapes and types, on the host.
METADATA = names(
    "can_cast common_type iscomplexobj isrealobj isscalar may_share_memory min_scalar_type "
    "ndim result_type shape shares_memory size"
)

# Write their first argument.
MUTATING = names("copyto fill_diagonal place put put_along_axis putmask")

# The shape of the answer depends on values: the host reads how many there are.
SYNCHRONISING = names(
    "expm "
    "argwhere bincount compress digitize extract flatnonzero histogram histogram2d "
    "histogramdd intersect1d nonzero setdiff1d setxor1d trim_zeros union1d unique unique_all "
    "unique_counts unique_inverse unique_values"
)

# Done by cuBLAS and cuSOLVER, which CuPy refuses to call while a stream captures.
LIBRARY = names(
    "cholesky det dot eig eigh eigvals eigvalsh einsum expm inner inv kron linalg_solve lstsq "
    "lu lu_factor lu_solve matmul matrix_power matrix_rank pinv qr slogdet solve "
    "solve_triangular svd tensordot tensorinv tensorsolve vdot"
)
