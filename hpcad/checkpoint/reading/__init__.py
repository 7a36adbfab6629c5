"""Checkpoint files in one process, as if their author were an enemy."""
