"""The orders in which samples come, as functions of position, seed and epoch."""
