"""Cumulative functions and differences."""

__all__: list[str] = []
