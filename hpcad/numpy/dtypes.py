"""Data types and what is known about them."""

__all__: list[str] = []
