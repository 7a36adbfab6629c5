"""Recomputation in the backward pass, and the schedules that say when."""
