"""A restore on all ranks together, of everything or of what is asked for."""
