"""Steps on a device: cuBLASLt products, CUDA routines, and what an array library does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcad.autodiff.primitive import Primitive
from hpcad.backend.cublaslt.product import BoundProduct, bind_product
from hpcad.backend.cudnn import BoundConvolution, bind_attention, bind_attention_back
from hpcad.program.cuda.generate import generate
from hpcad.program.cuda.launch import load
from hpcad.program.cuda.parts import CudaKernel
from hpcad.program.cuda.routines.convolution import Recipe, Routine
from hpcad.program.cuda.routines.routine import DeviceRoutine
from hpcad.program.cuda.routines.table import device_recipe, device_routine
from hpcad.program.device.faults import outside_kernel
from hpcad.program.device.fused_product import bind_fused
from hpcad.program.device.recipes import bound, in_turn
from hpcad.program.emission.names import Names, shapes
from hpcad.program.emission.steps import Arrays, Step, StepMaker, with_arrays
from hpcad.program.improve.fused_products import EPILOGUE_OF
from hpcad.program.instruction import Accumulate, Call, Instruction
from hpcad.program.phantom import address_of

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
        self._recipes: list[tuple[Step, Recipe]] = []
        self._routines: list[tuple[Step, DeviceRoutine | CudaKernel, list[int]]] = []

    def step(self, instruction: Instruction, beta: float) -> Step:
        op = instruction.op
        if isinstance(op, Accumulate):
            return self._accumulation(instruction, op)
        if isinstance(op, Call):
            return self._call(instruction, op)
        if instruction.name == "matmul":
            return self._product(instruction, instruction.args, beta)
        if instruction.name == "matmul_bias":
            return self._product(instruction, instruction.args[:2], 0.0, instruction.args[2])
        if instruction.name == "matmul_add":
            return self._product(instruction, instruction.args[1:], 1.0)
        if instruction.name in EPILOGUE_OF:
            return self._fused(instruction, EPILOGUE_OF[instruction.name], beta)
        if instruction.name == "in_range":
            return self._range_check(instruction)
        fault = 0
        if instruction.name in ("take_rows", "add_rows"):
            fault = self.target.faults.address(instruction, "an index means no row of the table")
        if instruction.name in ("tiled_attention", "tiled_attention_back"):
            step = self._attention(instruction)
            if step is not None:
                return step
        found = device_routine(instruction, self.arrays, beta, fault)
        if found is not None:
            return self._device_routine(instruction, found)
        recipe = device_recipe(instruction, self.arrays, beta, self.xp)
        if recipe is not None:
            return self._recipe(instruction, recipe)
        return self._other(instruction, op, beta)

    def _real(self, value: Any) -> Any:
        return self.target.real(self.arrays(value))

    def _product(
        self, instruction: Instruction, factors: list[Any], beta: float, added: Any = None
    ) -> Step:
        """``c = a b + beta c``, and a bias, by cuBLASLt where it takes the layouts as they are."""
        scope: dict[str, Any] = {}
        a, b = (self._name(x, scope) for x in factors)
        c = self._name(instruction.out, scope)
        arrays = [self._real(x) for x in (*factors, instruction.out)]
        bias = None if added is None else self._real(added)
        epilogue = None if added is None else "bias"
        call = bind_product(self.xp, *arrays, beta=beta, epilogue=epilogue, bias=bias)
        products = [] if call is None else [call]
        if call is None:
            call = _copied_product(self.target, arrays, beta, bias)
        sign = "+=" if beta else "="
        more = "" if added is None else f" + {self._name(added, scope)}"
        comment = f"{c} {sign} {a} @ {b}{more}; {shapes([*factors, instruction.out])}"
        step = self._device_step("product", instruction, f"gemm_{c}", call, comment)
        step.products = products
        m, k, n = arrays[0].shape[-2], arrays[0].shape[-1], arrays[2].shape[-1]
        step.flops = 2 * m * n * k * int(np.prod(arrays[2].shape[:-2], dtype=int))
        return step

    def _fused(self, instruction: Instruction, epilogue: str, beta: float) -> Step:
        """A product with an epilogue, and all that it writes."""
        scope: dict[str, Any] = {}
        a, b, *more = (self._name(x, scope) for x in instruction.args)
        c, *beside = (self._name(x, scope) for x in instruction.outs)
        args = [self._real(x) for x in instruction.args]
        outs = [self._real(x) for x in instruction.outs]
        call, products = bind_fused(self.target, epilogue, args, outs, beta)
        what = f"{', '.join([epilogue, *more])}({a} @ {b})"
        sign = "+=" if beta else "="
        values = shapes([*instruction.args, *instruction.outs])
        comment = f"{', '.join([c, *beside])} {sign} {what}; {values}"
        step = self._device_step("product", instruction, f"gemm_{c}", call, comment)
        step.products = products
        (m, k), n = args[0].shape, args[1].shape[1]
        step.flops = 2 * m * n * k
        return step

    def _attention(self, instruction: Instruction) -> Step | None:
        """Attention by cuDNN, where that is asked for and has a plan."""
        bind = bind_attention if instruction.name == "tiled_attention" else bind_attention_back
        arrays = (self._real(x) for x in (*instruction.args, *instruction.outs))
        call = bind(self.xp, *arrays, causal=instruction.params["causal"])
        if call is None:
            return None
        outs = ", ".join(self.names.of(out) for out in instruction.outs)
        comment = f"{outs} = {instruction.name} by cuDNN; {shapes(instruction.outs)}"
        name = f"cudnn_{instruction.name}_{self.names.of(instruction.outs[0])}"
        step = self._device_step("routine", instruction, name, call, comment)
        step.flops = call.flops
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

    def _range_check(self, instruction: Instruction) -> Step:
        """Labels are not looked at here: a kernel counts those that are no classes."""
        labels, classes = self.arrays(instruction.args[0]), instruction.params["classes"]
        what = f"cross_entropy: a label does not fit {classes} classes, which count from 0"
        flag = self.target.faults.address(instruction, what)
        step = self._device_step("kernel", instruction, "check_labels", _nothing, what)
        if labels.size and labels.flags.c_contiguous and flag:
            kernel = outside_kernel(labels.size, str(labels.dtype), classes)
            self._routines.append(
                (
                    step,
                    generate(kernel, f"outside_{labels.size}_{classes}"),
                    [address_of(labels), flag],
                )
            )
        return step

    def bind_routines(self, scratch: int) -> None:
        """Compile all routines together, and bind them; they have scratch memory of their own."""
        recipes = [(step, recipe.steps(scratch)) for step, recipe in self._recipes]
        units = [routine for _, routine, _ in self._routines]
        units += [p.routine for _, parts in recipes for p in parts if isinstance(p, Routine)]
        different = {unit.name: unit for unit in units}
        loaded = dict(zip(different, load(list(different.values()), self.xp), strict=True))
        for step, routine, pointers in self._routines:
            _give(step, loaded[routine.name].bind(pointers))
        for step, parts in recipes:
            calls = bound(self.target, parts, loaded)
            _give(step, in_turn(calls))
            step.products = [c for c in calls if isinstance(c, BoundProduct | BoundConvolution)]

    def _recipe(self, instruction: Instruction, recipe: Recipe) -> Step:
        """Routines and products one after the other: a convolution."""
        outs = ", ".join(self.names.of(out) for out in instruction.outs)
        by = f" by {recipe.by}" if recipe.by else ""
        comment = f"{outs} = {instruction.name}{by}; {shapes(instruction.outs)}"
        name = f"{instruction.name}_{self.names.of(instruction.outs[0])}"
        step = self._device_step("routine", instruction, name, None, comment)
        step.flops = recipe.flops
        self.scratch_bytes = max(self.scratch_bytes, recipe.workspace)
        self._recipes.append((step, recipe))
        return step

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
        value, beta = self._real(instruction.args[0]), op.beta
        grad: Any = op.parameter.gradient

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


def _give(step: Step, call: Callable[[], None]) -> None:
    step.call = call
    step.scope = dict.fromkeys(step.scope, call)


def _nothing() -> None:
    """A check of nothing."""


def _copied_product(
    target: DeviceTarget, arrays: list[Any], beta: float, bias: Any
) -> Callable[[], None]:
    """A product of arrays that lie in memory in a way that has to be changed first."""
    a, b, c = arrays
    gemm = target.backend.gemm

    def call() -> None:
        answer = gemm(a.copy(order="C"), b.copy(order="C"), bias=bias)
        if beta:
            c.__iadd__(answer)
        else:
            c[...] = answer

    return call
