"""Limits of requests, each default with its reason next to it, and the error beyond them."""

from __future__ import annotations

from dataclasses import dataclass

from tlcli.core.images.decoding import PIXEL_LIMIT


@dataclass(frozen=True)
class Limits:
    """Bounds on requests.

    Attributes:
        max_bytes: of a body; 32 MiB are enough for a 100-megapixel photo, or some 30 of a phone.
        max_pixels: of an image, read from its header before anything is decoded.
        max_instances: images in one request.
        in_flight: bodies of full size in memory at once, until they are answered; further
            requests get status 503.
        body_seconds: time for receiving a whole body, however slowly it arrives.
        head_seconds: time until the first request of a connection must have begun.
        connections: open at once; further ones get status 503.
    """

    max_bytes: int = 32 << 20
    # 300 MB decoded: four threads decode at once.
    max_pixels: int = 100_000_000
    max_instances: int = 128
    in_flight: int = 4
    body_seconds: float = 60.0
    head_seconds: float = 20.0
    connections: int = 64

    def __post_init__(self) -> None:
        if self.max_pixels > PIXEL_LIMIT:
            object.__setattr__(self, "max_pixels", PIXEL_LIMIT)


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
