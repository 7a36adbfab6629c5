"""Sets of unique values."""

__all__: list[str] = []
