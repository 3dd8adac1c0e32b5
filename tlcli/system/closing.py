"""Objects that release something at the end of a ``with`` block."""

from __future__ import annotations

from typing import TypeVar

_Self = TypeVar("_Self")


class Closing:
    """Calls `close` at the end of a ``with`` block."""

    def close(self) -> None:
        """Release what the object has; it cannot be used afterwards."""
        raise NotImplementedError

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
