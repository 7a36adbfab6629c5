"""From the plan to a Python function that calls kernels, products and routines, and its report."""
