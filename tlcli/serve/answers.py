"""Errors with their HTTP status."""

from __future__ import annotations


class RequestError(Exception):
    """A request that cannot be answered; ``str()`` is the sentence for its sender.

    Attributes:
        status: of HTTP, 400 to 599.
        headers: to send along.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
