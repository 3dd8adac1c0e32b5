"""Names of options and commands in other tools, and what they are called here.

A person types them from habit; an error names what is meant.
"""

from __future__ import annotations

from collections.abc import Collection

_IMAGES = ("--image_dir", "--image")
_STEPS = ("--how_many_training_steps",)
_MODEL = ("--module", "--graph")
_OUTPUT = ("--output_graph", "--output")
_SIZE = ("--input_height", "--input_width")
_BATCH = ("--train_batch_size", "--batch_size")
_AUGMENTATION = ("--flip_left_right", "--random_crop", "--random_scale", "--random_brightness")

# Of several names here, those that the command has are proposed.
OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("epochs", "epoch", "num_epochs", "n_epochs", "max_epochs"), _STEPS),
    **dict.fromkeys(("iterations", "iters", "max_iter", "num_steps", "max_steps"), _STEPS),
    **dict.fromkeys(("lr", "lr0", "base_lr", "rate", "eta"), ("--learning_rate",)),
    **dict.fromkeys(("batch", "bs", "batch_size", "batchsize"), _BATCH),
    **dict.fromkeys(("data", "data_dir", "data_path", "dataset", "dataset_dir"), _IMAGES),
    **dict.fromkeys(("train_dir", "training_dir", "input_dir", "folder", "root"), _IMAGES),
    **dict.fromkeys(("source", "input", "images", "img", "file", "path"), _IMAGES),
    **dict.fromkeys(("model", "weights", "checkpoint_file"), _MODEL),
    **dict.fromkeys(("arch", "backbone", "network", "pretrained", "base_model"), _MODEL),
    **dict.fromkeys(("out", "output_dir", "out_dir", "save", "save_path", "save_dir"), _OUTPUT),
    **dict.fromkeys(("output", "project", "export_dir", "model_path"), _OUTPUT),
    **dict.fromkeys(("imgsz", "img_size", "image_size", "input_size", "resolution"), _SIZE),
    **dict.fromkeys(("val_split", "validation_split", "val"), ("--validation_percentage",)),
    **dict.fromkeys(("test_split", "test_size"), ("--testing_percentage",)),
    **dict.fromkeys(("folds", "kfold", "k_folds", "cv"), ("--cross_validate",)),
    **dict.fromkeys(("augment", "augmentation", "hflip", "fliplr", "flip"), _AUGMENTATION),
    **dict.fromkeys(("resume", "checkpoint", "ckpt"), ("--checkpoint_path",)),
    **dict.fromkeys(("random_seed", "random_state", "manual_seed"), ("--seed",)),
    **dict.fromkeys(("optimizer", "optim"), ("--solver",)),
    **dict.fromkeys(("log_dir", "logdir", "tensorboard"), ("--summaries_dir",)),
    **dict.fromkeys(("tflite", "lite"), ("--output_tflite", "--to")),
    **dict.fromkeys(("export_format", "formats", "target_format", "kind"), ("--to", "--export")),
    **dict.fromkeys(("onnx", "coreml", "openvino", "int8"), ("--to", "--export")),
    **dict.fromkeys(("conf", "confidence", "min_confidence", "score"), ("--threshold",)),
    **dict.fromkeys(("topk", "top", "top_n", "k"), ("--num_top_predictions", "--top_k")),
    **dict.fromkeys(("classes", "class_names", "names", "label_file"), ("--labels",)),
    **dict.fromkeys(("gradcam", "cam", "heatmap", "heat_map"), ("--explain",)),
    **dict.fromkeys(("verbose", "debug", "log_level", "loglevel"), ("--logging_verbosity",)),
    **dict.fromkeys(("silent", "no_verbose"), ("--quiet",)),
    **dict.fromkeys(("half", "fp16", "amp", "dtype"), ("--precision",)),
    **dict.fromkeys(("fail_under", "min_acc", "target"), ("--min_accuracy",)),
    **dict.fromkeys(("hostname", "bind"), ("--host",)),
}
"""Option without its dashes, with underscores -> options here, the likeliest first."""

NOTES: dict[str, str] = {
    name: "An epoch is as many steps as training images divided by --train_batch_size."
    for name, meant in OPTIONS.items()
    if meant is _STEPS and "epoch" in name
}
"""Option -> a sentence about what is different here."""

COMMANDS: dict[str, str] = {
    **dict.fromkeys(("predict", "classify", "infer", "inference", "detect"), "label"),
    **dict.fromkeys(("label_image", "run", "recognize", "recognise", "tag"), "label"),
    **dict.fromkeys(("train", "fit", "learn", "finetune", "fine_tune", "tune"), "retrain"),
    **dict.fromkeys(("eval", "val", "validate", "test", "score", "accuracy"), "evaluate"),
    **dict.fromkeys(("benchmark", "compare", "measure"), "evaluate"),
    **dict.fromkeys(("models", "module", "backbones", "backbone", "list", "zoo"), "modules"),
    **dict.fromkeys(("download", "fetch", "pull"), "modules fetch"),
    **dict.fromkeys(("convert", "conversion", "quantize", "quantise", "deploy", "onnx"), "export"),
    **dict.fromkeys(("web", "ui", "app", "server", "gui", "demo", "api"), "serve"),
    **dict.fromkeys(("info", "env", "env_info", "version", "versions", "system"), "doctor"),
    **dict.fromkeys(("checks", "self_test", "selftest"), "doctor"),
    **dict.fromkeys(("clean", "clear", "purge", "prune"), "cache clear"),
    **dict.fromkeys(("help",), "--help"),
}
"""Command, with underscores -> what to type here after ``tlcli``."""


def meant(option: str, known: Collection[str]) -> str | None:
    """Return the error for an unknown option that is another tool's name for a known one.

    Args:
        option: with its dashes.
        known: the options of the command.
    """
    name = option.lstrip("-").replace("-", "_").lower()
    found = [each for each in OPTIONS.get(name, ()) if each in known]
    if not found:
        return None
    text = f"No such option: {option}. Did you mean {' or '.join(map(repr, found))}?"
    return f"{text} {NOTES[name]}" if name in NOTES else text
