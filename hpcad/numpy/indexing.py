"""Functions that pick and place elements."""

__all__: list[str] = []
