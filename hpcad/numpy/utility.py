"""Tests of truth."""

__all__: list[str] = []
