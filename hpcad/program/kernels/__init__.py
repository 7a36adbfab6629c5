"""Fused kernels: what they say, how they are written in C, and how they are run."""
