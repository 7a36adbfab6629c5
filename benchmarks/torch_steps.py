"""PyTorch's training step: eager or compiled, in the settings that may be its best on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name all of its users know
from step_cases import Case
from torch import nn
from torch_nets import build


def make(case: Case, threads: int, **options: Any) -> TorchStep:
    """Return the step of a contender."""
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    return TorchStep(case, **options)


class TorchStep:
    """Forward, backward, clipping, optimizer.

    Parameters
    ----------
    case : Case
    layout : {"contiguous", "channels_last"}
    optimizer : {"loop", "foreach", "fused", "compiled"}
        PyTorch's default on CPUs is the first, one parameter after the other.
    net : {"module", "loop"}
        See :func:`torch_nets.build`.
    mode : str, optional
        Of torch.compile, for the network and its loss; eager where there is none.
    """

    def __init__(
        self,
        case: Case,
        layout: str = "contiguous",
        optimizer: str = "loop",
        net: str = "module",
        mode: str | None = None,
    ) -> None:
        self.clip_norm, self.tokens = case.clip_norm, case.tokens
        self.format = {
            "contiguous": torch.contiguous_format,
            "channels_last": torch.channels_last,
        }[layout]
        model: Any = build(case, net).train()  # its to(memory_format=) is missing in torch's types
        self.model = model.to(memory_format=self.format)
        self.optimizer = _optimizer(case, self.model, optimizer)
        self.loss, self.update = self._loss, self.optimizer.step
        if mode is not None:
            # nn.LSTM is not traced unless it is asked for.
            torch._dynamo.config.allow_rnn = True
            self.loss = torch.compile(self._loss, mode=mode, dynamic=False, fullgraph=True)
        if optimizer == "compiled":
            self.update = torch.compile(self.optimizer.step, dynamic=False)

    def prepare(self, batch: Mapping[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch as this contender takes it; not timed."""
        x, y = torch.from_numpy(batch["x"]), torch.from_numpy(batch["y"])
        if isinstance(next(self.model.children()), nn.ModuleList) and hasattr(self.model, "stages"):
            x = x[:, None].contiguous(memory_format=self.format)
        return x, y

    def __call__(self, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
        """Take one step and return its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(*batch)
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.update()
        return loss.item()

    def _loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = self.model(x)
        if self.tokens:
            logits, y = logits.view(-1, logits.shape[-1]), y.view(-1)
        return F.cross_entropy(logits, y)


def describe() -> str:
    """Version of PyTorch and of the libraries under it."""
    words = torch.__config__.show().split("\n")
    libraries = [w.strip(" -").split(" for ")[0].split("(Git")[0].strip() for w in words
                 if "Math Kernel" in w or "MKL-DNN" in w or "CPU capability" in w]  # fmt: skip
    return f"PyTorch {torch.__version__}: {'; '.join(libraries)}"


def _optimizer(case: Case, model: nn.Module, choice: str) -> Any:
    kind = torch.optim.AdamW if case.weight_decay else torch.optim.Adam
    options: dict[str, Any] = {"lr": case.learning_rate, "betas": case.betas}
    options |= {"loop": {"foreach": False}, "compiled": {}}.get(choice, {choice: True})
    return kind(_groups(model, case.weight_decay), **options)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay weights, not biases or scales, as hpcad's optimizers do."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not weight_decay:
        return [{"params": parameters}]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
