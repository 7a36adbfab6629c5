"""Scaling studies: laws of step time, fits to measurements, and how far to trust them."""
