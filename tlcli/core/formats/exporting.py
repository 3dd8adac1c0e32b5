"""The export itself: a file is made, run, compared with the graph, and only then put in place."""

from __future__ import annotations

import functools
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.formats.comparison import (
    Agreement,
    Runner,
    agreement,
    file_scores,
    graph_scores,
    milliseconds,
    quality,
)
from tlcli.core.formats.figures import ExportedFile, Exports
from tlcli.core.formats.images import ExportImages, PixelSet, calibration_batches, generated
from tlcli.core.formats.kinds import KINDS, Kind
from tlcli.core.formats.network import Network
from tlcli.errors import GraphError, OutputError
from tlcli.progress import Progress
from tlcli.system.atomic_files import output_error
from tlcli.text import counted

_log = logging.getLogger("tlcli")

TOLERANCE = 1e-3
"""Largest difference of a score of an exact format; 1e-6 is usual."""
_INEXACT_TOLERANCE = 0.05
MOST_LOST = 0.005
"""By this much the accuracy on validation images may fall: half a point."""


Stage = Callable[[Path], Path]
"""Returns where the output for a path is to be written now."""


class Exporter:
    """Makes the files of one graph.

    Args:
        classifier: the loaded graph.
        network: what `network_of` returned for it.
        images: to calibrate and to compare with.
        force: also write files that are less accurate than allowed.
    """

    def __init__(
        self, classifier: Classifier, network: Network, images: ExportImages, force: bool = False
    ) -> None:
        self._classifier, self._network, self._images = classifier, network, images
        self._force = force

    @functools.cached_property
    def _test(self) -> PixelSet:
        # Whatever the split, some images are better than none.
        for part in (self._images.test, self._images.validation):
            found = PixelSet(part, self._network.preprocessing)
            if len(found):
                return found
        return generated(self._network.preprocessing)

    @functools.cached_property
    def _validation(self) -> PixelSet:
        found = PixelSet(self._images.validation, self._network.preprocessing)
        return found if len(found) else self._test

    @functools.cached_property
    def _test_scores(self) -> Any:
        return graph_scores(self._classifier, self._test)

    @functools.cached_property
    def _validation_scores(self) -> Any:
        if self._validation is self._test:
            return self._test_scores
        return graph_scores(self._classifier, self._validation)

    @property
    def _several(self) -> bool:
        return bool(self._network.thresholds)

    def graph(self, here: Path | None = None) -> ExportedFile:
        """Return the figures of the graph itself; ``here`` is where it is until all is written."""
        path = self._network.path
        return ExportedFile(
            "graph",
            path,
            _size(here or path),
            milliseconds(_GraphRunner(self._classifier), self._own_input(), self._test),
            quality(self._test_scores, self._test.truth),
        )

    def _own_input(self) -> Network:
        # The graph is timed with its own input, which exported files need not share.
        return replace(self._network, preprocessing=self._classifier.preprocessing)

    def export(self, name: str, path: Path, stage: Stage) -> ExportedFile:
        """Make one file, compare it, and put it where ``stage`` says.

        Args:
            name: of the format.
            path: where the file will be.
            stage: returns where the file for a path is to be written now.

        Raises:
            OutputError: it cannot be made or written, or does not give the graph's scores.
            GraphError: there is only a LiteRT file.
        """
        kind = KINDS[name]
        if kind.calibrated and not len(self._images.training):
            raise OutputError(
                f"{name} is made from training images; name their folder with --image_dir"
            )
        if kind.calibrated and not len(self._validation.truth):
            raise OutputError(
                f"{name} is compared on labelled validation images, and there are none; name the "
                "folder of the training images with --image_dir"
            )
        with tempfile.TemporaryDirectory(prefix="tlcli-") as folder:
            made = Path(folder) / path.name
            self._write(kind, made)
            found = self.compared(name, made, path)
            try:
                for here, there in zip(kind.files_at(made), kind.files_at(path), strict=True):
                    staged = stage(there)
                    if kind.is_folder:
                        shutil.copytree(here, staged)
                    else:
                        shutil.copyfile(here, staged)
            except OSError as error:
                raise output_error(path, error) from error
        return found

    def _write(self, kind: Kind, path: Path) -> None:
        network = self._network
        if kind.name == "onnx":
            from tlcli.core.formats.onnx import write_onnx

            write_onnx(network, path)
        elif kind.name == "openvino":
            from tlcli.core.formats.openvino import write_openvino

            write_openvino(network, path)
        elif kind.name == "coreml":
            from tlcli.core.formats.coreml import write_coreml

            write_coreml(network, path)
        elif kind.name == "saved_model":
            from tlcli.core.formats.saved_model import write

            write(network, path)
        else:
            from tlcli.core.formats.litert_files import write_litert

            batches = calibration_batches(self._images.training, network.preprocessing)
            write_litert(network, kind.name, path, batches)

    def compared(self, name: str, made: Path, path: Path) -> ExportedFile:
        """Return the figures of a file that was made.

        Args:
            name: of the format.
            made: where it is now.
            path: where it will be.

        Raises:
            OutputError: it cannot be run, or does not give the graph's scores.
        """
        kind = KINDS[name]
        size = sum(_size(each) for each in kind.files_at(made))
        try:
            runner = _open(kind, made)
        except GraphError as error:
            # It has another place now, and no option lets this program run it.
            reason = str(error).replace(str(made), str(path)).partition("; add --trust")[0]
            raise OutputError(f"no {kind.name} is written: {reason}") from error
        if runner is None:
            remark = f"{kind.text} runs on Apple's systems only: not run here"
            return ExportedFile(kind.name, path, size, remarks=(remark,))
        try:
            scores = file_scores(runner, self._network, self._test)
            found = agreement(self._test_scores, scores, self._network.thresholds)
            validation = None
            if not kind.is_exact and len(self._validation.truth):
                validation = self._accepted(kind, runner)
            else:
                self._check(kind, found)
            remarks: tuple[str, ...] = ()
            if kind.name == "tflite-edgetpu":
                from tlcli.core.formats.litert_files import edge_tpu_remark

                remarks = (edge_tpu_remark(made),)
            return ExportedFile(
                kind.name,
                path,
                size,
                milliseconds(runner, self._network, self._test),
                quality(scores, self._test.truth),
                found,
                validation,
                remarks,
            )
        except GraphError as error:
            raise OutputError(f"no {kind.name} is written: {error}") from error
        finally:
            runner.close()

    def _check(self, kind: Kind, found: Agreement) -> None:
        """Raise OutputError where scores differ by more than rounding does."""
        limit = TOLERANCE if kind.is_exact else _INEXACT_TOLERANCE
        if found.difference <= limit or self._force:
            return
        raise OutputError(
            f"no {kind.name} is written: its scores differ from those of the graph by "
            f"{found.difference:.2g} where {limit:g} is allowed; tlcli export --force writes it"
        )

    def _accepted(self, kind: Kind, runner: Runner) -> tuple[float, float]:
        """Return the figures on validation images, of the graph and of the file.

        Raises:
            OutputError: the file's is too low.
        """
        truth = self._validation.truth
        before = quality(self._validation_scores, truth)
        after = quality(file_scores(runner, self._network, self._validation), truth)
        assert before is not None
        assert after is not None
        if before - after <= MOST_LOST + 1e-9 or self._force:
            return before, after
        figure = "mean average precision" if self._several else "accuracy"
        images = "test image" if self._validation is self._test else "validation image"
        raise OutputError(
            f"no {kind.name} is written: its {figure} on {counted(len(truth), images)} is "
            f"{after:.1%}, that of the graph {before:.1%}, and it may lose half a point; "
            "tlcli export --force writes it"
        )

    def export_all(
        self, targets: Mapping[str, Path], stage: Stage, progress: Progress | None = None
    ) -> Exports:
        """Make several files; what one is refused for is no reason to leave out the others.

        Args:
            targets: name of each format to the path of its file.
            stage: see `export`.
            progress: called with ("formats", done, total).
        """
        files, refused = [], {}
        for done, (name, path) in enumerate(targets.items()):
            if progress is not None:
                progress("formats", done, len(targets))
            _log.info("Converting to %s, and comparing", KINDS[name].text)
            try:
                files.append(self.export(name, path, stage))
            except (GraphError, OutputError) as error:
                refused[name] = str(error)
        if progress is not None:
            progress("formats", len(targets), len(targets))
        return self.exports(files, refused)

    def exports(
        self, files: Sequence[ExportedFile], refused: Mapping[str, str], here: Path | None = None
    ) -> Exports:
        """Return all figures of an export; ``here`` is as for `graph`."""
        images = len(self._test) if len(self._test.truth) else 0
        return Exports(self.graph(here), tuple(files), dict(refused), images, self._several)


class _GraphRunner:
    """The graph itself, on one processor where LiteRT runs it."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def run(self, batch: Any) -> Any:
        return self._classifier.scores(batch, crowded=True)

    def close(self) -> None:
        """Leave the graph open: it is the caller's."""


def _open(kind: Kind, path: Path) -> Runner | None:
    """Return what runs a file; None where it cannot be run here.

    Raises:
        GraphError: it cannot be loaded.
    """
    if kind.name == "onnx":
        from tlcli.core.formats.onnx import OnnxRunner

        return OnnxRunner(path)
    if kind.name == "openvino":
        from tlcli.core.formats.openvino import OpenVinoRunner

        return OpenVinoRunner(path)
    if kind.name == "saved_model":
        from tlcli.core.formats.saved_model import SavedModelRunner

        return SavedModelRunner(path)
    if kind.name == "coreml":
        return None
    from tlcli.core.formats.litert_files import open_litert

    return open_litert(path)


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size
