"""Steps on a device: cuBLASLt products, CUDA routines, and what an array library does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend.cublaslt.product import bind_product
from hpcad.program.cuda.launch import load
from hpcad.program.cuda.routines.routine import DeviceRoutine
from hpcad.program.cuda.routines.table import device_routine
from hpcad.program.emission.names import Names, shapes
from hpcad.program.emission.steps import Arrays, Step, StepMaker, with_arrays
from hpcad.program.instruction import Accumulate, Call, Instruction

if TYPE_CHECKING:
    from hpcad.program.device.target import DeviceTarget


class DeviceStepMaker(StepMaker):
    """Makes steps that enqueue work on the current stream.

    Parameters
    ----------
    target : DeviceTarget
    """

    def __init__(
        self, names: Names, arrays: Arrays, base: Callable[[Any], Any], target: DeviceTarget
    ) -> None:
        super().__init__(names, arrays, base, native=True)
        self.target, self.xp = target, target.xp
        self._routines: list[tuple[Step, DeviceRoutine, list[int]]] = []

    def step(self, instruction: Instruction, beta: float) -> Step:
        op = instruction.op
        if isinstance(op, Accumulate):
            return self._accumulation(instruction, op)
        if isinstance(op, Call):
            return self._call(instruction, op)
        if instruction.name == "matmul":
            return self._product(instruction, instruction.args, beta)
        if instruction.name == "matmul_add":
            return self._product(instruction, instruction.args[1:], 1.0)
        found = device_routine(instruction, self.arrays, beta)
        if found is not None:
            return self._device_routine(instruction, found)
        return self._other(instruction, op, beta)

    def _real(self, value: Any) -> Any:
        return self.target.real(self.arrays(value))

    def _product(self, instruction: Instruction, factors: list[Any], beta: float) -> Step:
        """``c = a b + beta c``, by cuBLASLt where it takes the layouts as they are."""
        scope: dict[str, Any] = {}
        a, b = (self._name(x, scope) for x in factors)
        c = self._name(instruction.out, scope)
        arrays = [self._real(x) for x in (*factors, instruction.out)]
        bound = bind_product(self.xp, *arrays, beta=beta)
        if bound is None:
            bound = _copied_product(self.target, arrays, beta)
        sign = "+=" if beta else "="
        comment = f"{c} {sign} {a} @ {b}; {shapes([*factors, instruction.out])}"
        step = self._device_step("product", instruction, f"gemm_{c}", bound, comment)
        m, k, n = arrays[0].shape[-2], arrays[0].shape[-1], arrays[2].shape[-1]
        step.flops = 2 * m * n * k * int(np.prod(arrays[2].shape[:-2], dtype=int))
        return step

    def _device_routine(self, instruction: Instruction, found: Any) -> Step:
        """A routine in CUDA C++."""
        routine, pointers = found
        outs = ", ".join(self.names.of(out) for out in instruction.outs)
        comment = f"{outs} = {instruction.name}; {shapes(instruction.outs)}"
        name = f"{instruction.name}_{self.names.of(instruction.outs[0])}"
        step = self._device_step("routine", instruction, name, None, comment)
        step.flops = routine.flops
        self._routines.append((step, routine, pointers))
        return step

    def bind_routines(self, scratch: int) -> None:
        """Compile all routines together, and bind them; they have scratch memory of their own."""
        different = {routine.name: routine for _, routine, _ in self._routines}
        loaded = dict(zip(different, load(list(different.values()), self.xp), strict=True))
        for step, routine, pointers in self._routines:
            step.call = loaded[routine.name].bind(pointers)
            step.scope = dict.fromkeys(step.scope, step.call)

    def _other(self, instruction: Instruction, op: Primitive, beta: float) -> Step:
        """Any operation, by the array library, its answers copied to their places."""
        args = [self._real(x) if hasattr(x, "origin") else x for x in instruction.args]
        params = with_arrays(instruction.params, lambda v: self._real(v))
        outs = [self._real(out) for out in instruction.outs]

        def call() -> None:
            answer = op.evaluate(args, params)
            for out, array in zip(outs, answer if op.outputs else (answer,), strict=True):
                if beta:
                    out += array
                else:
                    out[...] = array

        name = f"{instruction.name}_{self.names.of(instruction.outs[0])}"
        return self._device_step("other", instruction, name, call, shapes(instruction.outs))

    def _accumulation(self, instruction: Instruction, op: Accumulate) -> Step:
        """Add to a gradient, or begin it."""
        value, grad, beta = self._real(instruction.args[0]), op.parameter.gradient, op.beta

        def call() -> None:
            if beta:
                self.xp.add(grad, value, out=grad)
            else:
                grad[...] = value

        return self._device_step("other", instruction, "accumulate", call, "")

    def _call(self, instruction: Instruction, op: Call) -> Step:
        step = super()._call(instruction, op)
        step.call = next(iter(step.scope.values()))
        step.effect = op
        return step

    def _device_step(
        self, kind: str, instruction: Instruction, name: str, call: Any, comment: str
    ) -> Step:
        name = self.names.new(name, numbered=False)
        step = self._new(kind, instruction, f"{name}()", {name: call}, comment)
        step.call = call
        return step


def _copied_product(target: DeviceTarget, arrays: list[Any], beta: float) -> Callable[[], None]:
    """A product of arrays that lie in memory in a way that has to be changed first."""
    a, b, c = arrays
    gemm = target.backend.gemm

    def call() -> None:
        answer = gemm(a.copy(order="C"), b.copy(order="C"))
        if beta:
            c.__iadd__(answer)
        else:
            c[...] = answer

    return call
