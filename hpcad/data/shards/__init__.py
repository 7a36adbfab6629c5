"""HDF5 shards: rows read by offset without HDF5's lock, checked by blocks, and written."""
