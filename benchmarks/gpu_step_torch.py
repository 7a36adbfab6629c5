"""PyTorch's GPT training step on a GPU: eager or compiled, attention by its fused kernels."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name all of its users know
from gpu_cases import GptCase, initial_arrays
from torch import nn
from torch_nets import CharGPT


def make(case: GptCase, **options: Any) -> TorchGpt:
    """Return the step of a contender."""
    return TorchGpt(case, **options)


class TorchGpt:
    """Forward, backward, clipping, fused AdamW.

    Parameters are float32; in bfloat16 the network runs under ``torch.autocast``, as nanoGPT's.
    ``F.scaled_dot_product_attention`` chooses its kernel: FlashAttention in bfloat16.

    Parameters
    ----------
    case : GptCase
    device : {"cuda", "cpu"}
        The CPU is for trying the program out.
    mode : str, optional
        Of torch.compile, for the network and its loss; eager where there is none.
    """

    def __init__(self, case: GptCase, device: str = "cuda", mode: str | None = None) -> None:
        self.case, self.device = case, torch.device(device)
        # Of float32 products: "high" takes tf32.
        torch.set_float32_matmul_precision("high" if case.precision == "tf32" else "highest")
        model = CharGPT(initial_arrays(case), case.layers, case.heads)
        self.model = model.to(self.device).train()
        self.optimizer = torch.optim.AdamW(
            _groups(self.model, case.weight_decay),
            lr=case.learning_rate,
            betas=case.betas,
            fused=True,
        )
        self.loss: Any = self._loss
        if mode is not None:
            self.loss = torch.compile(self._loss, mode=mode, dynamic=False, fullgraph=True)

    def prepare(self, batch: Mapping[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch in the memory of the device; not timed."""
        x, y = (torch.from_numpy(batch[name]).to(self.device) for name in ("x", "y"))
        return x, y

    def __call__(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Take one step; the loss stays on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = self.loss(*batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.case.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def wait(self) -> None:
        """Return when the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def value(self, loss: torch.Tensor) -> float:
        """The number of a loss."""
        return loss.item()

    def memory(self) -> dict[str, Any]:
        """Bytes of the device that the process held at most, and what its allocator kept."""
        if self.device.type != "cuda":
            return {}
        return {
            "peak_bytes": torch.cuda.max_memory_allocated(self.device),
            "reserved_bytes": torch.cuda.max_memory_reserved(self.device),
        }

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.case.precision != "bfloat16":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = self.model(x)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.view(-1))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay weights, not biases or scales, as hpcad's optimizers do."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
