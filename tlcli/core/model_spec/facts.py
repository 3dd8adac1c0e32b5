"""What a loader found in a model file, before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tlcli.core.model_spec.adjacent_files import AdjacentFiles
from tlcli.core.model_spec.kinds import ModelKind
from tlcli.litert.description import Step


@dataclass(frozen=True)
class ModelFacts:
    """What a loader found in a model file.

    Attributes:
        path: of the file or folder.
        kind: of the file.
        input: name of its input, without ":0".
        output: name of its scores, without ":0".
        shape: of the input, None where a size is free; () where the file has none.
        dtype: of the input: "float32", "uint8", "int8" or "string".
        scores: how many there are for an image; None where only a run shows it.
        any_batch: it takes any number of images at once.
        adjacent: files next to it that tell of it.
        indexed_labels: each line of its labels file begins with the line's number.
        mean: of the file's own metadata, one value or one per channel; () for none.
        std: as ``mean``.
        version: of the model, by the file's own metadata; "" for none.
        steps: the arithmetic that the network does to its input first.
        activation: what the scores are; see `InputSpec`.
        divided_by: by this the graph divides pixels before a resize of its own, which is fed.
        is_inception: its nodes are in ``InceptionV3/``, as slim's are.
    """

    path: Path
    kind: ModelKind
    input: str
    output: str
    shape: tuple[int | None, ...]
    dtype: str
    scores: int | None
    any_batch: bool
    adjacent: AdjacentFiles = field(default_factory=AdjacentFiles)
    indexed_labels: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    version: str = ""
    steps: tuple[Step, ...] = ()
    activation: str | None = None
    divided_by: float | None = None
    is_inception: bool = False

    @property
    def input_node(self) -> str:
        """The last part of the input's name, as its network calls it."""
        # Converters write "serving_default_image:0" for the node ``image``.
        name = self.input.split(":")[0].removeprefix("serving_default_")
        return name.rsplit("/", 1)[-1]

    @property
    def output_node(self) -> str:
        """The last part of the output's name."""
        return self.output.split(":")[0].rsplit("/", 1)[-1]

    @property
    def is_quantised(self) -> bool:
        """Whether the input takes integers."""
        return self.dtype in ("uint8", "int8")

    @property
    def channels(self) -> int | None:
        """How many channels an image has; None where the file does not say."""
        if len(self.shape) == 3:
            return 1
        return self.shape[3] if len(self.shape) == 4 else None

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width that the file declares, in pixels."""
        return (self.shape[1], self.shape[2]) if len(self.shape) in (3, 4) else (None, None)
