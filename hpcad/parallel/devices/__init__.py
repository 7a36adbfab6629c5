"""Arrays on GPUs: NCCL, MPI libraries that know GPUs, and ways through pinned host memory."""
