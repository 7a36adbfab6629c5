"""Ranks that share memory: a window that all of them see, and reductions in place."""
