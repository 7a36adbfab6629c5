"""Fused kernels on GPUs: CUDA C++, compiled by NVRTC, launched through CuPy.

Written without a GPU at hand: generated text is compiled for sm_80 and sm_90 and checked in an
emulation on the CPU, but nothing here has run on a GPU yet.
"""
