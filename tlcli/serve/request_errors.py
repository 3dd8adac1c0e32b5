"""Errors with their HTTP status."""

from __future__ import annotations


class RequestError(Exception):
    """A request that cannot be answered; ``str()`` is the message for its sender.

    Attributes:
        status: HTTP status, 400 to 599.
        headers: of the response, in addition to the usual ones.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
