"""The networks of step_cases.py in PyTorch, as its users write them, with hpcad's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name all of its users know
from step_cases import Case, initial_model
from torch import nn

Arrays = Mapping[str, np.ndarray]


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, arrays: Arrays) -> None:
        super().__init__()
        count = len(arrays) // 2
        self.layers = nn.ModuleList([_linear(arrays, f"layers.{i}") for i in range(count)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class CNN(nn.Module):
    """Stages of 3 x 3 convolution, 2 x 2 max pooling and ReLU, then two linear layers."""

    def __init__(self, arrays: Arrays) -> None:
        super().__init__()
        count = sum(name.startswith("stages.") for name in arrays) // 2
        self.stages = nn.ModuleList([_conv(arrays, f"stages.{i}") for i in range(count)])
        self.hidden = _linear(arrays, "hidden", arrays[f"stages.{count - 1}.weight"].shape[3])
        self.head = _linear(arrays, "head")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for stage in self.stages:
            x = F.relu(F.max_pool2d(stage(x), 2))
        return self.head(F.relu(self.hidden(x.flatten(1))))


class Block(nn.Module):
    """Pre-norm transformer block with fused causal attention."""

    def __init__(self, arrays: Arrays, name: str, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = _norm(arrays, f"{name}.norm1")
        self.qkv = _linear(arrays, f"{name}.attention.qkv")
        self.projection = _linear(arrays, f"{name}.attention.projection")
        self.norm2 = _norm(arrays, f"{name}.norm2")
        self.expand = _linear(arrays, f"{name}.expand")
        self.contract = _linear(arrays, f"{name}.contract")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, dim=2)
        q, k, v = (p.view(n, t, self.heads, width // self.heads).transpose(1, 2) for p in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(n, t, width))
        return x + self.contract(F.gelu(self.expand(self.norm2(x)), approximate="tanh"))


class CharGPT(nn.Module):
    """Token and position embedding, blocks, and a head tied to the token embedding."""

    def __init__(self, arrays: Arrays, layers: int, heads: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding.from_pretrained(_tensor(arrays["tokens.weight"]), freeze=False)
        positions = _tensor(arrays["positions.weight"])
        self.positions = nn.Embedding.from_pretrained(positions, freeze=False)
        self.blocks = nn.ModuleList([Block(arrays, f"blocks.{i}", heads) for i in range(layers)])
        self.norm = _norm(arrays, "norm")

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.positions(places)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


class LSTM(nn.Module):
    """PyTorch's own LSTM layer over all times, its last output to a linear layer."""

    def __init__(self, arrays: Arrays) -> None:
        super().__init__()
        wide = {name: _turned_gates(arrays[f"recurrent.{name}"]) for name in _RECURRENT}
        inputs, hidden = wide["input_weight"].shape[0], wide["recurrent_weight"].shape[0]
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.lstm.weight_ih_l0 = nn.Parameter(_tensor(wide["input_weight"].T))
        self.lstm.weight_hh_l0 = nn.Parameter(_tensor(wide["recurrent_weight"].T))
        self.lstm.bias_ih_l0 = nn.Parameter(_tensor(wide["bias"]))
        # The layer has two biases, which only ever appear as their sum: hpcad's is the first.
        zeros = torch.zeros(4 * hidden)
        self.lstm.bias_hh_l0 = nn.Parameter(zeros, requires_grad=False)
        self.head = _linear(arrays, "head")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class UnrolledLSTM(nn.Module):
    """The same as a loop over cells; the products with the input are one GEMM."""

    def __init__(self, arrays: Arrays) -> None:
        super().__init__()
        weight, self.hidden = arrays["recurrent.input_weight"], len(arrays["head.weight"])
        self.input = nn.Linear(*weight.shape)
        self.input.weight = nn.Parameter(_tensor(weight.T))
        self.input.bias = nn.Parameter(_tensor(arrays["recurrent.bias"]))
        self.recurrent = nn.Linear(self.hidden, weight.shape[1], bias=False)
        self.recurrent.weight = nn.Parameter(_tensor(arrays["recurrent.recurrent_weight"].T))
        self.head = _linear(arrays, "head")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = c = x.new_zeros(len(x), self.hidden)
        for x_t in self.input(x).unbind(1):
            i, f, o, g = (x_t + self.recurrent(h)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.head(h)


def build(case: Case, net: str) -> nn.Module:
    """Return the network of a case with its first weights.

    Parameters
    ----------
    net : {"module", "loop"}
        Whether a recurrent layer is PyTorch's own or a loop over its cells.
    """
    model: Any = initial_model(case)
    arrays = model.arrays()
    kind = type(model).__name__
    if kind == "CharGPT":
        return CharGPT(arrays, len(model.blocks), model.blocks[0].attention.heads)
    if kind == "RecurrentClassifier":
        return UnrolledLSTM(arrays) if net == "loop" else LSTM(arrays)
    return {"MLP": MLP, "CNN": CNN}[kind](arrays)


# -- weights ------------------------------------------------------------------------------


_RECURRENT = ("input_weight", "recurrent_weight", "bias")


def _turned_gates(array: np.ndarray) -> np.ndarray:
    """From hpcad's order of gates i, f, o, g along the last axis to PyTorch's i, f, g, o."""
    i, f, o, g = np.split(array, 4, axis=-1)
    return np.concatenate([i, f, g, o], axis=-1)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, order="C"))


def _linear(arrays: Arrays, name: str, channels: int = 1) -> nn.Linear:
    """A linear layer; with ``channels``, its inputs change from H,W,C to C,H,W order."""
    weight, bias = arrays[f"{name}.weight"], arrays.get(f"{name}.bias")
    inputs, outputs = weight.shape
    weight = weight.reshape(-1, channels, outputs).transpose(2, 1, 0).reshape(outputs, inputs)
    layer = nn.Linear(inputs, outputs, bias=bias is not None)
    layer.weight = nn.Parameter(_tensor(weight))
    if bias is not None:
        layer.bias = nn.Parameter(_tensor(bias))
    return layer


def _conv(arrays: Arrays, name: str) -> nn.Conv2d:
    """A 3 x 3 convolution; (KH, KW, C, K) becomes (K, C, KH, KW)."""
    weight = arrays[f"{name}.weight"]
    layer = nn.Conv2d(weight.shape[2], weight.shape[3], weight.shape[0], padding=1)
    layer.weight = nn.Parameter(_tensor(weight.transpose(3, 2, 0, 1)))
    layer.bias = nn.Parameter(_tensor(arrays[f"{name}.bias"]))
    return layer


def _norm(arrays: Arrays, name: str) -> nn.LayerNorm:
    scale, shift = arrays[f"{name}.scale"], arrays.get(f"{name}.shift")
    layer = nn.LayerNorm(len(scale), bias=shift is not None)
    layer.weight = nn.Parameter(_tensor(scale))
    if shift is not None:
        layer.bias = nn.Parameter(_tensor(shift))
    return layer
