"""Creation functions."""

__all__: list[str] = []
