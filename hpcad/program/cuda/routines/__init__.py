"""Hand-written CUDA C++: what is neither an elementwise kernel nor a product.

Each file of Python describes a routine that stands as text beside it (``.cu``). The tests compile
all of them for sm_80 and sm_90 and run them in an emulation on the CPU against NumPy
(``tests/program/cuda``). Not yet run on a GPU.
"""
