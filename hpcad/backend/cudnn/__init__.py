"""Attention on the device by cuDNN, which a user asks for. Not yet run on a GPU.

cuDNN is called by NVIDIA's package ``nvidia-cudnn-frontend`` with plain addresses, on a handle
that belongs to a stream, so that it can be captured into a CUDA graph. See
:func:`bind_attention` and :func:`bind_attention_back`; without ``HPCAD_CUDNN=1`` they bind nothing.
"""

from hpcad.backend.cudnn.attention import (
    BoundAttention,
    bind_attention,
    bind_attention_back,
)
from hpcad.backend.cudnn.search import find_cudnn

__all__ = ["BoundAttention", "bind_attention", "bind_attention_back", "find_cudnn"]
