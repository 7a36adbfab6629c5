"""A save on all ranks: planned, written in parts, published by one rename, pruned."""
