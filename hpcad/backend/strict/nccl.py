"""What passes for ``cupy.cuda.nccl``: there is no NCCL for the strict device."""

available = False
