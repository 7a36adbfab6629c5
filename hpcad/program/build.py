"""From a captured program to an executable one: the passes, in their order."""

from __future__ import annotations

import logging

from hpcad.autodiff.pytree import Structure
from hpcad.backend.cudnn import asked_for
from hpcad.backend.native.compiler import find_compiler
from hpcad.program.device.target import DeviceTarget
from hpcad.program.emission.executable import Executable, NoCompiler
from hpcad.program.emission.target import HostTarget
from hpcad.program.fusion.fuse import fuse
from hpcad.program.fusion.unfused import unfused
from hpcad.program.improve.contractions import merge_products
from hpcad.program.improve.convolution_relus import join_relus
from hpcad.program.improve.epilogue_choice import Epilogues
from hpcad.program.improve.epilogues import add_biases
from hpcad.program.improve.fuse_epilogues import fuse_epilogues
from hpcad.program.improve.kept import keep_transposes
from hpcad.program.improve.order import hold
from hpcad.program.improve.patterns import combine
from hpcad.program.improve.running_sums import add_in_place
from hpcad.program.improve.simplify import simplify
from hpcad.program.instruction import Program
from hpcad.program.memory.budget import fit
from hpcad.program.memory.plan import plan
from hpcad.program.memory.remat import rematerialise
from hpcad.program.memory.residence import HostMemory
from hpcad.program.memory.storage import Storage
from hpcad.program.options import Options

_log = logging.getLogger("hpcad")


def build(name: str, program: Program, tree: Structure, options: Options) -> Executable:
    """Make a captured program executable; by NumPy alone where there is no C compiler."""
    program = simplify(hold(program))
    if program.backend is not None:
        return _on_device(name, program, tree, options, DeviceTarget(program.backend))
    native = options.native and find_compiler() is not None
    if native and options.fuse:
        try:
            program = add_in_place(merge_products(rematerialise(combine(program))))
            if native:
                program = keep_transposes(program)
            if options.memory is not None:
                _fit(name, program, options.memory)
            return Executable(name, program, fuse(program), tree, HostTarget(native))
        except NoCompiler:
            native = False
    return Executable(name, program, unfused(program), tree, HostTarget(native))


def _on_device(
    name: str, program: Program, tree: Structure, options: Options, target: DeviceTarget
) -> Executable:
    """Products that cuBLASLt takes as they lie, and kernels in CUDA C++."""
    program = add_in_place(merge_products(rematerialise(program)))
    program = add_biases(fuse_epilogues(program, options.epilogues or Epilogues()))
    if asked_for():
        program = join_relus(program)
    if options.memory is not None:
        _fit(name, program, options.memory)
    with target.running():
        return Executable(name, program, fuse(program), tree, target)


def _fit(name: str, program: Program, budget: int) -> None:
    """Recompute until the memory plan fits; a warning where it cannot."""
    reached = fit(program, budget, planned)
    if reached > budget:
        _log.warning(
            "program %s needs %.3g MB, and its budget is %.3g MB; nothing more can be recomputed. "
            "Take a smaller batch",
            name,
            reached / 1e6,
            budget / 1e6,
        )


def planned(program: Program) -> int:
    """Bytes of the memory plan of a program, without building it."""
    return plan(Storage(program, fuse(program), HostMemory()).owned())
