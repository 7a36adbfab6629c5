"""Scaling studies: what is run, how it is run, and the raw samples that are kept."""
