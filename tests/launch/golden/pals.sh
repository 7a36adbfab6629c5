# 8 ranks, 4 a node, by pals (Cray PALS, under PBS).
mpiexec -n 8 --ppn 4 --cpu-bind depth --depth 16 \
  --env MPICH_GPU_SUPPORT_ENABLED=0 \
  --env MPICH_OFI_NIC_POLICY=GPU \
  --env FI_MR_CACHE_MONITOR=userfaultfd \
  --env HDF5_USE_FILE_LOCKING=FALSE \
  --env OMP_NUM_THREADS=16 \
  bash -c 'order=(3 2 1 0); export CUDA_VISIBLE_DEVICES=${order[$PALS_LOCAL_RANKID]}; exec "$@"' rank \
  ${VENV:-.venv}/bin/hpcad train jobs/gpt2_124m.toml
