"""Forms of products with their elementwise neighbours, as a compiled step chooses among them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from hpcad import nn
from hpcad.program.compiled import Compiled
from hpcad.program.device.trials import fastest_form, measured, random_inputs, trial
from hpcad.program.improve.epilogue_choice import SEPARATE, Candidate, Epilogues
from hpcad.program.options import Options

WIDTH = 768  # of GPT-2 124M
TINY = (24, 16)  # rows and width of the check
NEAR = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 6e-2}  # of the largest number
TITLE = "forms of products with their elementwise neighbours"


class Layers(nn.Module):
    """The products of a transformer block, with one of two activations."""

    def __init__(self, activation: Any, width: int) -> None:
        self.activation = activation
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(3 * width, width)
        self.fc = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        return self.out(self.activation(self.fc(self.proj(self.qkv(x)))))


def candidates(backend: Any, rows: int, width: int, dtype: str) -> dict[str, Candidate]:
    """What a step of these layers meets, by name."""
    found: dict[str, Candidate] = {}
    for activation in (nn.gelu, nn.relu):
        model = Layers(activation, width)
        model.initialize(0, np.float32, backend)
        precision = nn.Precision(dtype)
        precision.apply(model)
        epilogues = Epilogues(wish=())

        def step(x: Any, g: Any, model: Any = model) -> None:
            (model(x) * g).sum().backward()

        x = backend.asarray(np.zeros((rows, width), precision.dtype))
        run = Compiled(step, Options(ahead=True, strict=True, epilogues=epilogues))
        run.prepare(x, x)
        for candidate in epilogues.met.values():
            kind, shape, *_ = candidate.key.split(" ")
            found.setdefault(f"{kind} {shape}", candidate)
    return found


def check(backend: Any, dtype: str, only: str) -> list[str]:
    """Compare the forms of tiny layers with separate kernels; return what is wrong."""
    wrong, count = [], 0
    for name, candidate in candidates(backend, *TINY, dtype).items():
        if only not in name:
            continue
        with backend.stream:
            arrays = random_inputs(candidate, backend)
            answers = {form: _answers(candidate, form, arrays, backend) for form in candidate.forms}
        plain = answers[SEPARATE] or []
        for form, answer in answers.items():
            if answer is None:
                print(f"# {name}: this cuBLASLt does not know form {form}")
                continue
            count += 1
            difference = max(map(_difference, answer, plain))
            if not difference < NEAR[dtype]:
                wrong.append(f"{name}, {form}: differs from separate kernels by {difference:.1e}")
    for line in wrong:
        print(f"gpu_gemm: refused: {line}", file=sys.stderr)
    print(f"# {count - len(wrong)} of {count} forms are what separate kernels compute")
    return wrong


def _answers(
    candidate: Candidate, form: str, arrays: dict[Any, Any], backend: Any
) -> list[np.ndarray] | None:
    program = trial(candidate, form, arrays, backend)
    if program is None:
        return None
    return [backend.to_host(array).astype(np.float64) for array in program.run([])]


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max() / np.abs(other).max())


def measure(backend: Any, rows: int, dtype: str, only: str) -> list[dict[str, Any]]:
    """Print a line per form."""
    print(f"{TITLE}, {rows} rows")
    found = []
    for name, candidate in candidates(backend, rows, WIDTH, dtype).items():
        if only in name:
            seconds = measured(candidate, backend)
            found.append({"name": name, "seconds": seconds})
            print("\n".join(lines_of(name, seconds)), flush=True)
            backend.xp.get_default_memory_pool().free_all_blocks()
    return found


def lines_of(name: str, seconds: dict[str, float]) -> list[str]:
    """Rows of the table."""
    taken = fastest_form(seconds)
    return [
        f"{name:<40}{form:>12}{1e6 * took:>10.1f} us{took / seconds[SEPARATE]:>7.2f} of separate"
        f"{'  taken' if form == taken else ''}"
        for form, took in seconds.items()
    ]
