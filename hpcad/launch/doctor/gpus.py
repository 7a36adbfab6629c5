"""Faults of GPUs, where the job computes on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpcad.launch.doctor.facts import Facts
from hpcad.launch.doctor.finding import ERROR, WARNING, Finding, found

_ONE_EACH = (
    "show each rank its own: `srun --gpus-per-task=1`, or start at most as many ranks on a node as "
    "it has GPUs; a wrapper that sets CUDA_VISIBLE_DEVICES must count by the local rank"
)


def on_gpus(facts: Sequence[Facts]) -> bool:
    """Whether the job computes on GPUs; ``auto`` takes them only where every rank has one."""
    return any(each.device == "gpu" for each in facts) or (
        all(each.device == "auto" and each.gpus for each in facts)
    )


def shared(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Several ranks on one GPU."""
    if not on_gpus(facts):
        return
    ranks: dict[tuple[str, str, str], list[Facts]] = {}
    for each in facts:
        if each.gpu is not None:
            ranks.setdefault((each.host, each.gpu.bus, each.gpu.part), []).append(each)
    for (_, bus, _part), those in ranks.items():
        if len(those) > 1:
            yield found(
                "shared GPU", ERROR, f"{len(those)} ranks compute on GPU {bus}", those, _ONE_EACH
            )


def absent(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Ranks without a GPU, where others have one or the job asks for one."""
    without = [each for each in facts if each.device != "cpu" and not each.gpus]
    asked = any(each.device == "gpu" for each in without)
    if not without or not (asked or len(without) < len(facts)):
        return
    what = "the job asks for GPUs, and" if asked else "the whole job falls back to CPUs:"
    yield found(
        "no GPU",
        ERROR if asked else WARNING,
        f"{what} {len(without)} of {len(facts)} ranks see none",
        without,
        "ask the batch system for GPUs (`--gpus-per-task=1`), look for a CUDA_VISIBLE_DEVICES that "
        "hides them, and see what `hpcad info` says of CuPy; or take device = 'cpu'",
    )


def not_aware(facts: Sequence[Facts]) -> Iterator[Finding]:
    """MPI that does not take device memory, where it would be given some, or could spare copies."""
    if not on_gpus(facts) or len(facts) == 1:
        return
    ranks = [each for each in facts if not each.gpu_aware]
    if not ranks:
        return
    change = (
        "load an MPI library built for CUDA (Cray MPICH: MPICH_GPU_SUPPORT_ENABLED=1 and the GTL "
        "library), or reduce by NCCL (HPCAD_DEVICE_COMMUNICATOR=nccl or auto); "
        "HPCAD_GPU_AWARE=1 if it is known to take device memory"
    )
    how = f"MPI is not known to be GPU-aware ({ranks[0].gpu_aware_how})"
    if any(each.settings.get("HPCAD_DEVICE_COMMUNICATOR") == "mpi" for each in facts):
        what = f"{how}, and HPCAD_DEVICE_COMMUNICATOR=mpi gives it buffers on devices"
        yield found("not GPU-aware", ERROR, what, ranks, change)
    elif not all(each.nccl for each in facts):
        what = f"{how}, and there is no NCCL: every sum goes through the memory of the host"
        yield found("not GPU-aware", WARNING, what, ranks, change)
