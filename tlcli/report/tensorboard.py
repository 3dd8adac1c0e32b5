"""TensorBoard files of a fit, with the tags of the original tools.

Written with tensorboard's own messages and record writer, from plain NumPy; tensorflow is
never imported. Older TensorBoards read the files too: they hold the same kinds of
summaries that the originals wrote.
"""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from tlcli.arrays import Array
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.errors import OutputError
from tlcli.progress import Progress
from tlcli.report.collect import spread
from tlcli.report.tensorboard_pictures import confusion_image, one_line, sprite
from tlcli.system.atomic_files import output_error, write_bytes, write_text

Kind = Literal["train", "validation"]

KINDS: tuple[Kind, ...] = ("train", "validation")
LAYER = "final_retrain_ops"
# At the end of the names of our event files, so that a new run removes only what is ours.
SUFFIX = ".tlcli"
# As many as TensorBoard draws.
HISTOGRAM_BUCKETS = 30
# What the projector in a browser still turns smoothly.
PROJECTOR_POINTS = 10_000


_MISSING = "--summaries_dir needs the package tensorboard: pip install 'tlcli[summaries]'"


def check_installed() -> None:
    """Find out, without importing it, that tensorboard is there.

    Raises:
        OutputError: it is not installed.
    """
    if find_spec("tensorboard") is None:
        raise OutputError(_MISSING)


class Summaries:
    """Writes event files under ``train/`` and ``validation/`` of a folder."""

    def __init__(self, folder: Path | str) -> None:
        """Open both event files; those of an earlier run in the same folder are removed.

        Raises:
            OutputError: tensorboard is not installed, or the folder cannot be written.
        """
        try:
            event_pb2 = import_module("tensorboard.compat.proto.event_pb2")
            summary_pb2 = import_module("tensorboard.compat.proto.summary_pb2")
            records = import_module("tensorboard.summary.writer.record_writer")
        except ImportError:
            raise OutputError(_MISSING) from None
        self.folder = Path(folder)
        self._event: Any = event_pb2.Event
        self._summary: Any = summary_pb2.Summary
        self._histogram: Any = summary_pb2.HistogramProto
        self._writers: dict[Kind, Any] = {}
        with self._output_errors(), ExitStack() as stack:
            for kind in KINDS:
                place = self.folder / kind
                place.mkdir(parents=True, exist_ok=True)
                for old in place.glob(f"events.out.tfevents.*{SUFFIX}"):
                    old.unlink()
                file = place / (
                    f"events.out.tfevents.{time.time():.0f}.{_host()}.{os.getpid()}{SUFFIX}"
                )
                # The writer closes the file.
                writer = stack.enter_context(closing(records.RecordWriter(file.open("wb"))))
                self._writers[kind] = writer
                self._write(kind, self._event(file_version="brain.Event:2"))
            self._open = stack.pop_all()

    def step(
        self, kind: Kind, step: int, accuracy: float | None, cross_entropy: float | None
    ) -> None:
        """Write accuracy (in [0, 1]) and cross entropy of a batch; None is left out.

        Raises:
            OutputError: the disk is full.
        """
        summary = self._summary()
        for tag, value in (("accuracy_1", accuracy), ("cross_entropy_1", cross_entropy)):
            if value is not None:
                summary.value.add(tag=tag, simple_value=float(value))
        self._add(kind, step, summary)

    def layer(self, step: int, weights: Array, biases: Array) -> None:
        """Write statistics and histograms of the final layer: weights [D, L] and biases [L].

        They go to both folders, as the originals wrote them.

        Raises:
            OutputError: the disk is full.
        """
        summary = self._summary()
        for name, values in (("weights", weights), ("biases", biases)):
            self._statistics(summary, f"{LAYER}/{name}/summaries", values)
        for each in KINDS:
            self._add(each, step, summary)

    def activations(
        self, kind: Kind, step: int, pre_activations: Array, activations: Array
    ) -> None:
        """Write histograms of what the layer gave for a batch: logits and probabilities, [N, L].

        Raises:
            OutputError: the disk is full.
        """
        batch = self._summary()
        for tag, found in (
            (f"{LAYER}/Wx_plus_b/pre_activations", pre_activations),
            ("activations", activations),
        ):
            batch.value.add(tag=tag, histo=self._histogram_of(found))
        self._add(kind, step, batch)

    def confusion(
        self, tag: str, step: int, matrix: ConfusionMatrix, labels: Sequence[str]
    ) -> None:
        """Write a picture of a confusion matrix (rows: true labels, columns: predicted).

        Raises:
            OutputError: the disk is full.
        """
        image = confusion_image(matrix.matrix, labels)
        summary = self._summary()
        shown = summary.value.add(tag=tag).image
        shown.height, shown.width, shown.colorspace = image.height, image.width, 3
        shown.encoded_image_string = _png(image)
        self._add("validation", step, summary)

    def projector(
        self,
        vectors: Array,
        columns: Mapping[str, Sequence[str]],
        thumbnails: Sequence[Path | str | None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write bottlenecks for TensorBoard's projector, at most `PROJECTOR_POINTS` of them.

        Args:
            vectors: float [N, D].
            columns: what is known of each point, N texts by name; two names or more.
            thumbnails: N image files, or None for plain points.
            progress: called with ("thumbnails", done, total).

        Raises:
            OutputError: a file cannot be written.
        """
        vectors = np.ascontiguousarray(vectors, dtype="<f4")
        count = len(vectors)
        if not count:
            return
        rows = spread(count, PROJECTOR_POINTS)
        tensor = _write_tensor(self.folder, vectors[rows])
        # A single column would have no head, or it would be a point.
        table = [list(columns), *([found[row] for found in columns.values()] for row in rows)]
        lines = ["\t".join(map(one_line, each)) for each in table]
        write_text(self.folder / "metadata.tsv", "".join(f"{line}\n" for line in lines))
        config = [
            "embeddings {",
            '  tensor_name: "bottlenecks"',
            f"  tensor_shape: {len(rows)}",
            f"  tensor_shape: {vectors.shape[1]}",
            f'  tensor_path: "{tensor}"',
            '  metadata_path: "metadata.tsv"',
        ]
        if thumbnails is not None:
            side, sheet = sprite([thumbnails[row] for row in rows], progress)
            write_bytes(self.folder / "sprite.png", _png(sheet))
            config += [
                "  sprite {",
                '    image_path: "sprite.png"',
                f"    single_image_dim: {side}",
                f"    single_image_dim: {side}",
                "  }",
            ]
        write_text(self.folder / "projector_config.pbtxt", "\n".join([*config, "}", ""]))

    def __enter__(self) -> Summaries:
        return self

    def __exit__(self, *exception: object) -> None:
        """Write what is buffered and close the files.

        Raises:
            OutputError: the disk is full.
        """
        with self._output_errors():
            self._open.close()

    def _statistics(self, summary: Any, scope: str, values: Array) -> None:
        values = np.asarray(values, dtype=np.float64)
        # The originals' scopes made TensorFlow number the second "stddev".
        for name, value in (
            ("mean", values.mean()),
            ("stddev_1", values.std()),
            ("max", values.max()),
            ("min", values.min()),
        ):
            summary.value.add(tag=f"{scope}/{name}", simple_value=float(value))
        summary.value.add(tag=f"{scope}/histogram", histo=self._histogram_of(values))

    def _histogram_of(self, values: Array) -> Any:
        flat = np.asarray(values, dtype=np.float64).ravel()
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            return self._histogram()
        counts, edges = np.histogram(flat, bins=HISTOGRAM_BUCKETS)
        return self._histogram(
            min=float(flat.min()),
            max=float(flat.max()),
            num=float(flat.size),
            sum=float(flat.sum()),
            sum_squares=float(flat @ flat),
            bucket_limit=edges[1:].tolist(),
            bucket=counts.astype(np.float64).tolist(),
        )

    def _add(self, kind: Kind, step: int, summary: Any) -> None:
        if summary.value:
            with self._output_errors():
                self._write(kind, self._event(step=int(step), summary=summary))

    def _write(self, kind: Kind, event: Any) -> None:
        event.wall_time = time.time()
        self._writers[kind].write(event.SerializeToString())

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        """Turn what the system refuses into an OutputError."""
        try:
            yield
        except OSError as error:
            raise output_error(self.folder, error) from error


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _host() -> str:
    # Part of a file name: a host may be called anything.
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in socket.gethostname())
    return name or "localhost"


def _write_tensor(folder: Path, vectors: Array) -> str:
    """Write vectors as float32 bytes or as text; return the file's name."""
    data = vectors.tobytes()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        write_bytes(folder / "bottlenecks.bytes", data)
        return "bottlenecks.bytes"
    # TensorBoard takes a file for text when it reads as UTF-8: few or round numbers may.
    lines = ("\t".join(f"{value:.9g}" for value in row) for row in vectors)
    write_text(folder / "bottlenecks.tsv", "".join(f"{line}\n" for line in lines))
    return "bottlenecks.tsv"
