"""Copies of datasets on the nodes' own disks, made once for all ranks of a node."""
