"""Which instructions become one pass over memory, and how that is written as a kernel."""
