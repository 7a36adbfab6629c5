"""`hpcad env broadcast`: a virtual environment is read once, and unpacked on a disk of each node.

Every rank would import these modules from the slow file system that the command is to spare: they
need the standard library and mpi4py, nothing else.
"""
