from typing import Literal

from typing_extensions import Buffer

INSTRUCTIONS: Literal["avx2", "plain"]

def resize(
    pixels: Buffer,
    out: Buffer,
    box: tuple[float, float, float, float],
    down_first: bool,
    plain: bool = False,
    /,
) -> None: ...
