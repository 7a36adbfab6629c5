"""Functions of functions: derivatives as transforms."""
