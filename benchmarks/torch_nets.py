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
        places = torch.arange(tokens.shape[1])
        x = self.tokens(tokens) + self.positions(places)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


class TorchStep:
    """PyTorch's eager step: forward, backward, clipping, optimizer.

    Parameters
    ----------
    case : Case
    layout : {"contiguous", "channels_last"}
    fused : bool
        Whether the optimizer is PyTorch's fused one, or its default.
    """

    def __init__(self, case: Case, layout: str, fused: bool) -> None:
        words = ["torch", _LAYOUTS[layout], "fused" if fused else ""]
        self.name = " ".join(word for word in words if word)
        self.clip_norm, self.tokens = case.clip_norm, case.tokens
        self.format = getattr(torch, f"{layout}_format" if layout == "contiguous" else layout)
        model: Any = _build(case).train()  # Module.to(memory_format=) is missing in torch's types
        self.model = model.to(memory_format=self.format)
        kind = torch.optim.AdamW if case.weight_decay else torch.optim.Adam
        options: dict[str, Any] = {"lr": case.learning_rate, "betas": case.betas}
        if fused:
            options["fused"] = True
        self.optimizer = kind(_groups(self.model, case.weight_decay), **options)

    def prepare(self, batch: Arrays) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch as this contender takes it; not timed."""
        x, y = torch.from_numpy(batch["x"]), torch.from_numpy(batch["y"])
        if x.ndim == 3:
            x = x[:, None].contiguous(memory_format=self.format)
        return x, y

    def __call__(self, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
        """Take one step and return its loss."""
        x, y = batch
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.model(x)
        if self.tokens:
            logits, y = logits.view(-1, logits.shape[-1]), y.view(-1)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        return loss.item()


_LAYOUTS = {"contiguous": "", "channels_last": "channels-last"}


def contenders(case: Case) -> list[TorchStep]:
    """Return every way of PyTorch to take the step: layouts times optimizers."""
    return [TorchStep(case, layout, fused) for layout in case.layouts for fused in (False, True)]


def describe() -> str:
    """Version of PyTorch and of the libraries under it."""
    words = torch.__config__.show().split("\n")
    libraries = [w.strip(" -").split(" for ")[0].split("(Git")[0].strip() for w in words
                 if "Math Kernel" in w or "MKL-DNN" in w or "CPU capability" in w]  # fmt: skip
    return f"PyTorch {torch.__version__}: {'; '.join(libraries)}"


# -- weights ------------------------------------------------------------------------------


def _build(case: Case) -> nn.Module:
    model: Any = initial_model(case)
    arrays = model.arrays()
    kind = type(model).__name__
    if kind == "CharGPT":
        return CharGPT(arrays, len(model.blocks), model.blocks[0].attention.heads)
    return {"MLP": MLP, "CNN": CNN}[kind](arrays)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay weights, not biases or scales, as hpcad's optimizers do."""
    parameters = list(model.parameters())
    if not weight_decay:
        return [{"params": parameters}]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.copy())


def _linear(arrays: Arrays, name: str, channels: int = 1) -> nn.Linear:
    """A linear layer; with ``channels``, its inputs change from H,W,C to C,H,W order."""
    weight, bias = arrays[f"{name}.weight"], arrays.get(f"{name}.bias")
    inputs, outputs = weight.shape
    weight = weight.reshape(-1, channels, outputs).transpose(2, 1, 0).reshape(outputs, inputs)
    layer = nn.Linear(inputs, outputs, bias=bias is not None)
    layer.weight = nn.Parameter(torch.from_numpy(np.ascontiguousarray(weight)))
    if bias is not None:
        layer.bias = nn.Parameter(_tensor(bias))
    return layer


def _conv(arrays: Arrays, name: str) -> nn.Conv2d:
    """A 3 x 3 convolution; (KH, KW, C, K) becomes (K, C, KH, KW)."""
    weight = arrays[f"{name}.weight"]
    layer = nn.Conv2d(weight.shape[2], weight.shape[3], weight.shape[0], padding=1)
    turned = np.ascontiguousarray(weight.transpose(3, 2, 0, 1))
    layer.weight = nn.Parameter(torch.from_numpy(turned))
    layer.bias = nn.Parameter(_tensor(arrays[f"{name}.bias"]))
    return layer


def _norm(arrays: Arrays, name: str) -> nn.LayerNorm:
    scale, shift = arrays[f"{name}.scale"], arrays.get(f"{name}.shift")
    layer = nn.LayerNorm(len(scale), bias=shift is not None)
    layer.weight = nn.Parameter(_tensor(scale))
    if shift is not None:
        layer.bias = nn.Parameter(_tensor(shift))
    return layer
