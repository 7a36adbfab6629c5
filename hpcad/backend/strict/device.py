"""The device itself, of which there is one."""

from __future__ import annotations

from hpcad.backend.strict.streams import synchronize_device


class Device:
    """The strict device, with CuPy's interface.

    Parameters
    ----------
    device : int
        0.
    """

    compute_capability = "90"
    name = "strict"

    def __init__(self, device: int | None = None) -> None:
        self.id = int(device or 0)

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"<strict device {self.id}>"

    def use(self) -> Device:
        """Make it current."""
        return self

    def synchronize(self) -> None:
        """Let the host wait for all streams."""
        synchronize_device()
