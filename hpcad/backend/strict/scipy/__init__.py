"""What passes for ``cupyx.scipy``: the functions of SciPy's that CuPy has."""
