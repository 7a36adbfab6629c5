"""Attention and convolutions on the device by cuDNN, which a user asks for. Not yet run on a GPU.

cuDNN is called by NVIDIA's package ``nvidia-cudnn-frontend`` with plain addresses, on a handle
that belongs to a stream, so that it can be captured into a CUDA graph. See
:func:`bind_attention`, :func:`bind_attention_back` and :func:`plan_convolution`; without
``HPCAD_CUDNN=1`` they bind and plan nothing.
"""

from hpcad.backend.cudnn.attention import (
    BoundAttention,
    bind_attention,
    bind_attention_back,
)
from hpcad.backend.cudnn.convolution import BoundConvolution, bind_convolution, plan_convolution
from hpcad.backend.cudnn.convolution_problem import ConvolutionProblem
from hpcad.backend.cudnn.search import asked_for, find_cudnn

__all__ = [
    "BoundAttention",
    "BoundConvolution",
    "ConvolutionProblem",
    "asked_for",
    "bind_attention",
    "bind_attention_back",
    "bind_convolution",
    "find_cudnn",
    "plan_convolution",
]
