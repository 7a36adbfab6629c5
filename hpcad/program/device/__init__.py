"""Programs for a device: their memory, their steps, and CUDA graphs of them."""
