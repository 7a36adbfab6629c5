"""Compiled convolutions: the routines, and their use on plain arrays."""

from hpcad.backend.native.convolution.routines import ConvForward, ConvInput, ConvWeight, ready

__all__ = ["ConvForward", "ConvInput", "ConvWeight", "ready"]
