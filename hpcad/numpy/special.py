"""Special functions beyond the standard."""

__all__: list[str] = []
