"""Layers, losses and the arenas their parameters live in."""

import hpcad.numpy  # noqa: F401  (gives tensors their methods)
from hpcad.autodiff import Parameter
from hpcad.nn import initializers
from hpcad.nn.arena import ParameterArena, flatten
from hpcad.nn.attention import CausalSelfAttention, TransformerBlock
from hpcad.nn.batch_norm import BatchNorm
from hpcad.nn.buffer import Buffer
from hpcad.nn.context import training_step
from hpcad.nn.layers import Conv2d, Dropout, Embedding, Flatten, LayerNorm, Linear
from hpcad.nn.losses import cross_entropy, mean_squared_error
from hpcad.nn.module import InitializedParameter, Module, Sequential, undrawn
from hpcad.nn.precision import Precision
from hpcad.nn.recurrent import GRU, LSTM, RNN
from hpcad.primitives.elementwise import gelu, relu, sigmoid, tanh
from hpcad.primitives.pooling import max_pool2d
from hpcad.primitives.softmax import log_softmax, softmax

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BatchNorm",
    "Buffer",
    "CausalSelfAttention",
    "Conv2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "InitializedParameter",
    "LayerNorm",
    "Linear",
    "Module",
    "Parameter",
    "ParameterArena",
    "Precision",
    "Sequential",
    "TransformerBlock",
    "cross_entropy",
    "flatten",
    "gelu",
    "initializers",
    "log_softmax",
    "max_pool2d",
    "mean_squared_error",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
    "training_step",
    "undrawn",
]
