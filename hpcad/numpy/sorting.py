"""Sorting."""

__all__: list[str] = []
