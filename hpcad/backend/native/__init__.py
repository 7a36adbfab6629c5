"""Compiled code on the CPU: the C compiler, its cache, one thread pool, hand-written routines.

Without a C compiler (or with ``HPCAD_NATIVE=0``) every door here answers ``None`` and the callers
compute with NumPy instead.
"""
