"""Laws of step time against ranks, their fits to measurements, and how far to trust them."""
