"""The options of a retraining, their defaults and the values they may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from retrain.multi_label.checks import check_multi_label
from retrain.presets.choice import preset_settings
from retrain.sharded.checks import check_shards
from tlcli.core.data.splits import check_percentages
from tlcli.core.export.model_card import card_path
from tlcli.core.fine_tuning.choices import FINE_TUNES
from tlcli.core.fitting.label_weights import read_label_weights
from tlcli.core.formats.kinds import KINDS, parse_kinds
from tlcli.errors import UsageError
from tlcli.runners.machines import Machines
from tlcli.storage.locations import is_url, shown

DEFAULT_MODULE = "efficientnet_lite0"
DEFAULT_REPORT = "output_report.html"

# Changed in place, which no bucket allows.
_HERE = (
    *("intermediate_output_graphs_dir", "summaries_dir", "model_dir", "import_bottlenecks"),
    *("export_bottlenecks", "checkpoint_path"),
)


@dataclass(frozen=True)
class RetrainOptions:
    """All options of `retrain.job.retrain`; names as on the command line.

    Paths may be text. Percentages are whole numbers from 0 to 99, `min_accuracy`
    is a fraction from 0 to 1.

    Raises:
        UsageError: a value is out of range, or two values contradict each other.
    """

    # None where a manifest lists the images, or imported bottlenecks stand in for all of them.
    image_dir: Path | None = None
    # The card of an earlier run, whose options were taken over before.
    from_card: Path | None = None
    manifest: Path | None = None
    keep_label_names: bool = False
    multi_label: bool = False

    output_graph: Path = Path("output_graph.pb")
    output_labels: Path | None = None  # next to the graph, as scripts of the original expect
    saved_model_dir: Path | None = None
    output_tflite: Path | None = None  # next to the graph, where conversion is cheap
    output_report: Path | None = None  # next to the graph
    no_report: bool = False
    # Names of formats, or one text with commas between them.
    export: str | Sequence[str] | None = None
    intermediate_output_graphs_dir: Path | None = None
    intermediate_store_frequency: int = 0
    summaries_dir: Path | None = None

    # None: DEFAULT_MODULE, unless every vector is imported and only the final layer is wanted.
    module: str | None = None
    module_input: str | None = None
    module_output: str | None = None
    input_height: int | None = None
    input_width: int | None = None
    input_mean: float | None = None
    input_std: float | None = None
    model_dir: Path | None = None
    trust: bool = False
    bottleneck_dir: Path | None = None
    import_bottlenecks: Path | None = None
    export_bottlenecks: Path | None = None
    # float32 unless a machine and a run are such that bfloat16 saves seconds.
    precision: str = "auto"
    # "local" computes the vectors in this process.
    runner: str = "local"
    address: str | None = None
    num_shards: int | None = None
    shard_index: int | None = None

    # The next ones have the originals' defaults, which scripts rely on.
    how_many_training_steps: int = 4000
    learning_rate: float = 0.01
    train_batch_size: int = 100
    validation_batch_size: int = 100
    test_batch_size: int = -1
    eval_step_interval: int = 10
    testing_percentage: int = 10
    validation_percentage: int = 10
    print_misclassified_test_images: bool = False

    flip_left_right: bool = False
    random_crop: int = 0
    random_scale: int = 0
    random_brightness: int = 0
    # Four views cost four times the extraction once; more hardly raises accuracy.
    distortion_views: int = 4

    final_layer_only: bool = False
    final_tensor_name: str = "final_result"
    checkpoint_path: Path | None = None
    # None: those of "original"; `retrain.presets.choice` finds the preset that a user means.
    preset: str | None = None
    solver: str | None = None
    fine_tune: str = "none"
    # None: "head", unless the preset has more.
    layers: str | None = None
    # None: "balanced" for SGD, whose batches are drawn so, and "none" for the others.
    label_weights: str | None = None
    cross_validate: int | None = None
    seed: int = 0
    min_accuracy: float | None = None
    min_map: float | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        self._take_preset()
        self._take_formats()
        for field in fields(self):
            value = getattr(self, field.name)
            if value == "":
                raise UsageError(f"--{field.name} is empty; give a value or leave it out")
            if value is None:
                continue
            if "Path" in str(field.type):
                object.__setattr__(self, field.name, Path(value))
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if field.type in ("int", "float", "int | None") and not is_number:
                raise UsageError(f"--{field.name} is {value!r}; give a number")
        self._check_ranges()
        self._check_combinations()
        check_shards(self)
        check_multi_label(self)
        self._check_outputs()

    def _take_preset(self) -> None:
        if self.preset is None:
            object.__setattr__(self, "preset", "original")
        for name, value in preset_settings(str(self.preset)).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.layers is None:
            object.__setattr__(self, "layers", "head")

    def _take_formats(self) -> None:
        if self.export is None:
            return
        names = parse_kinds(self.export)
        object.__setattr__(self, "export", names)
        for name, option in (("tflite", "output_tflite"), ("saved_model", "saved_model_dir")):
            if name in names and getattr(self, option) is None and not self.final_layer_only:
                object.__setattr__(self, option, KINDS[name].path_beside(Path(self.output_graph)))

    def _check_ranges(self) -> None:
        percentages = ("random_crop", "random_scale", "random_brightness")
        positive = ("how_many_training_steps", "eval_step_interval", "distortion_views")
        for low, names in (
            (0, (*percentages, "intermediate_store_frequency", "seed")),
            (1, (*positive, "input_height", "input_width", "num_shards")),
            (2, ("cross_validate",)),
        ):
            for name in names:
                value = getattr(self, name)
                if value is not None and value < low:
                    raise UsageError(f"--{name} is {value}; give a number of at least {low}")
        for name in percentages:
            if getattr(self, name) > 100:
                raise UsageError(f"--{name} is {getattr(self, name)}; give a percentage up to 100")
        for name in ("train_batch_size", "validation_batch_size", "test_batch_size"):
            value = getattr(self, name)
            if value < 1 and value != -1:
                raise UsageError(f"--{name} is {value}; give a number of images, or -1 for all")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"--learning_rate is {self.learning_rate}; give a number above 0")
        if self.input_std == 0:
            raise UsageError("--input_std is 0; pixels are divided by it, so give another number")
        for name in ("min_accuracy", "min_map"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"--{name} is {value}; give a fraction such as 0.9, or 90%")
        if self.layers not in ("head", "ms"):
            raise UsageError(f"--layers is {self.layers!r}; choose head or ms")
        if self.solver not in ("sgd", "lbfgs", "lda", "auto"):
            raise UsageError(f"--solver is {self.solver!r}; choose sgd, lbfgs, lda or auto")
        if self.fine_tune not in FINE_TUNES:
            raise UsageError(
                f"--fine_tune is {self.fine_tune!r}; choose none, auto, head_blocks or all"
            )
        if self.precision not in ("auto", "float32", "bfloat16", "int8"):
            raise UsageError(
                f"--precision is {self.precision!r}; choose auto, float32, bfloat16 or int8"
            )

    def _check_combinations(self) -> None:
        if self.image_dir is None and self.manifest is None and self.import_bottlenecks is None:
            raise UsageError(
                "--image_dir is missing; give the folder that holds one folder of images per "
                "label, or a table of images and labels as --manifest"
            )
        if self.manifest is not None:
            for name in ("image_dir", "import_bottlenecks"):
                if getattr(self, name) is not None:
                    raise UsageError(
                        f"--manifest lists all images, so --{name} has no use; leave one of the "
                        "two out"
                    )
        if self.precision in ("bfloat16", "int8") and self.import_bottlenecks is not None:
            raise UsageError(
                "--import_bottlenecks brings vectors of float32, which those of --precision "
                f"{self.precision} must not be mixed with; leave one of the two out"
            )
        if self.layers == "ms" and self.import_bottlenecks is not None:
            raise UsageError(
                "--import_bottlenecks brings vectors of one layer, which those of --layers ms must "
                "not be mixed with; leave one of the two out"
            )
        if self.label_weights not in (None, "balanced", "none"):
            read_label_weights(Path(self.label_weights))  # before the work, not after it
        check_percentages(self.testing_percentage, self.validation_percentage)
        if self.intermediate_store_frequency and self.intermediate_output_graphs_dir is None:
            raise UsageError(
                "--intermediate_store_frequency needs --intermediate_output_graphs_dir, "
                "the folder for the graphs"
            )
        if self.min_accuracy is not None and self.testing_percentage == 0:
            raise UsageError(
                "--min_accuracy needs test images; give a --testing_percentage above 0"
            )
        if self.fine_tune == "auto" and self.validation_percentage == 0:
            raise UsageError(
                "--fine_tune auto needs validation images to decide; give a "
                "--validation_percentage above 0, or --fine_tune all, which keeps the result"
            )
        if self.fine_tune != "none" and self.final_layer_only:
            raise UsageError(
                "--final_layer_only writes no network, so --fine_tune has nothing to train; leave "
                "one of the two out"
            )
        whole = "--final_layer_only writes no whole network"
        steps, stepless = f"--solver {self.solver} takes no steps", self.solver != "sgd"
        for given, reason, name, use in (
            (self.no_report, "--no_report writes no report", "output_report", "hold"),
            (self.final_layer_only, whole, "saved_model_dir", "hold"),
            (self.final_layer_only, whole, "output_tflite", "hold"),
            (self.final_layer_only, whole, "export", "convert"),
            (stepless, steps, "checkpoint_path", "write"),
            (stepless, steps, "intermediate_output_graphs_dir", "write"),
        ):
            if given and getattr(self, name) is not None:
                raise UsageError(
                    f"{reason}, so --{name} has nothing to {use}; leave one of the two out"
                )

    def _check_outputs(self) -> None:
        """Raise UsageError where two outputs would be one file, or one has no name."""
        for name in ("output_graph", "output_labels", "output_tflite", "output_report"):
            path = getattr(self, name)
            if path is not None and path.name in ("", ".."):
                raise UsageError(f"--{name} {path} is a folder; give the name of a file in it")
        for name in _HERE:
            path = getattr(self, name)
            if path is not None and is_url(path):
                raise UsageError(f"--{name} {shown(path)} is a URL; give a path of this machine")
        owners: dict[Path, str] = {}
        for name, path in {
            "output_graph": self.output_graph,
            "output_labels": self.labels_path,
            "output_tflite": self.output_tflite or self.output_graph.with_suffix(".tflite"),
            "output_report": self.report_path,
            "output_graph (its model card)": card_path(self.output_graph),
            **{
                f"export {name}": KINDS[name].path_beside(self.output_graph)
                for name in self.export or ()
                if name not in ("tflite", "saved_model")
            },
        }.items():
            if path is None:
                continue
            other = owners.setdefault(path.absolute(), name)
            if other != name:
                raise UsageError(f"--{other} and --{name} would both be {path}; give another name")
        folder = self.saved_model_dir
        for path, name in owners.items():
            # The whole folder is replaced.
            if folder is not None and folder.absolute() in (path, *path.parents):
                raise UsageError(
                    f"--saved_model_dir {folder} must be a folder of its own, and --{name} would "
                    f"be in it; give another, such as {folder / 'saved_model'}"
                )

    @property
    def by_shards(self) -> bool:
        """Whether part files are computed before anything is fitted."""
        return self.machines.by_shards

    @property
    def machines(self) -> Machines:
        """Who computes the part files."""
        return Machines(self.runner, self.address, self.num_shards, self.shard_index)

    @property
    def distorts(self) -> bool:
        """Whether training images are seen in distorted views."""
        return bool(
            self.flip_left_right or self.random_crop or self.random_scale or self.random_brightness
        )

    @property
    def labels_path(self) -> Path:
        """Where the labels file goes."""
        return self.output_labels or self.output_graph.parent / "output_labels.txt"

    @property
    def report_path(self) -> Path | None:
        """Where the report goes, or None when none is wanted."""
        if self.no_report:
            return None
        return self.output_report or self.output_graph.parent / DEFAULT_REPORT

    def to_dict(self) -> dict[str, Any]:
        """Return all options as plain JSON values."""
        return {
            name: shown(value) if isinstance(value, Path) else value
            for name, value in vars(self).items()
        }
