# 8 ranks, 4 a node, by hydra (MPICH and Intel MPI).
mpiexec -n 8 -ppn 4 -bind-to core:16 \
  -genv MPICH_GPU_SUPPORT_ENABLED 0 \
  -genv MPICH_OFI_NIC_POLICY GPU \
  -genv FI_MR_CACHE_MONITOR userfaultfd \
  -genv HDF5_USE_FILE_LOCKING FALSE \
  -genv OMP_NUM_THREADS 16 \
  bash -c 'order=(3 2 1 0); export CUDA_VISIBLE_DEVICES=${order[$MPI_LOCALRANKID]}; exec "$@"' rank \
  ${VENV:-.venv}/bin/hpcad train jobs/gpt2_124m.toml
