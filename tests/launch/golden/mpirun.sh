# 8 ranks, 4 a node, by mpirun (Open MPI 5).
mpirun -n 8 --map-by ppr:4:node:PE=16 --bind-to core \
  -x MPICH_GPU_SUPPORT_ENABLED=0 \
  -x MPICH_OFI_NIC_POLICY=GPU \
  -x FI_MR_CACHE_MONITOR=userfaultfd \
  -x HDF5_USE_FILE_LOCKING=FALSE \
  -x OMP_NUM_THREADS=16 \
  bash -c 'order=(3 2 1 0); export CUDA_VISIBLE_DEVICES=${order[$OMPI_COMM_WORLD_LOCAL_RANK]}; exec "$@"' rank \
  ${VENV:-.venv}/bin/hpcad train jobs/gpt2_124m.toml
