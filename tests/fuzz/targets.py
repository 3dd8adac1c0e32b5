"""What reads files that others made, each as a function of bytes.

A target returns for every input, or raises what it may raise; anything else is a finding.
Seeds are small whole files, for a fuzzer to change.
"""

from __future__ import annotations

import atexit
import functools
import io
import logging
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz.packed_litert import packed_seeds, read_packed
from tlcli.backbones.frozen_graph import find
from tlcli.backbones.torch_file import read_tensors
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.cache_database import FILE_NAME
from tlcli.core.bottlenecks.text_files import read_vector
from tlcli.core.data.archives import ArchiveRefused, as_folder, unpack
from tlcli.core.data.manifest import read_manifest
from tlcli.core.export.model_card import CardInput, ModelCard, read
from tlcli.core.images.heif import check_whole, is_heif, read_header
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.model_spec.input_inference import examine
from tlcli.core.model_spec.labels_file import decode_labels
from tlcli.errors import (
    BackboneError,
    DataError,
    GraphError,
    ImageError,
    OutputError,
    TlcliError,
)
from tlcli.graph.limits import check_messages, check_sizes
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.graph.safety import check_operations, check_saved_model, read_graph
from tlcli.litert.flatbuffer import LiteRTModel, OperatorOptions
from tlcli.litert.safety import check_litert
from tlcli.system.digests import sha256_bytes

logging.getLogger("tlcli").setLevel(logging.CRITICAL)

_OWN = Preprocessing("tlcli-1", 32, 24)
_OLD = Preprocessing("label_image", 32, 24)


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tlcli-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _written(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def images(data: bytes) -> None:
    """Give a picture of the right shape, or a reason in a few words."""
    for preprocessing in (_OWN, _OLD):
        try:
            assert preprocessing.read(data).shape == (32, 24, 3)
        except ImageError as error:
            reason = str(error)
        else:
            reason = "read"
        assert 0 < len(reason) < 120


def labels(data: bytes) -> None:
    """Give labels without line ends, or a sentence."""
    with suppress(DataError):
        found = decode_labels(data, "labels.txt").names
        assert found
        assert not any("\n" in label or "\0" in label for label in found)


def bottleneck_text(data: bytes) -> None:
    """Give finite numbers, or a reason."""
    with suppress(DataError):
        vector = read_vector(_written("photo.jpg.txt", data))
        assert vector.dtype == np.float32
        assert np.isfinite(vector).all()


def cache(data: bytes) -> None:
    """Give the vector that was put there, or none; never another, never an error."""
    folder = _folder() / "cache"
    folder.mkdir(exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    (folder / FILE_NAME).write_bytes(data)
    with suppress(TlcliError), BottleneckStore(folder) as store:
        found = store.get("network", None, ["0" * 64])
        for vector in found.values():
            np.testing.assert_array_equal(vector, _VECTOR)
        store.put("network", None, {"1" * 64: _VECTOR})


def model_card(data: bytes) -> None:
    """Give a card that can be written again, or a reason."""
    with suppress(ValueError):
        assert read(_written("card.json", data)).to_json()


def torch_file(data: bytes) -> None:
    """Give arrays of the expected shapes, or one sentence, also where the hash is right."""
    path = _written("weights.pth", data)
    with suppress(BackboneError):
        tensors = read_tensors(path, sha256_bytes(data), {"weight": (2, 3)}, "install it again")
        assert tensors["weight"].shape == (2, 3)


def graph(data: bytes) -> None:
    """Tell what a frozen graph wants, or say in a sentence why not."""
    path = _written("graph.pb", data)
    with suppress(GraphError):
        parsed = read_graph(path)
        check_operations(parsed)
        found = examine(parsed)
        height, width = found.facts.size
        assert height
        assert width
        check_sizes(found.graph, found.input, [found.output], (height, width), "it")
    with suppress(TlcliError):
        find(path)


def saved_model(data: bytes) -> None:
    """Let a SavedModel pass, or say in a sentence why not."""
    _written("saved_model.pb", data)
    with suppress(GraphError):
        check_saved_model(_folder())


def messages(data: bytes) -> None:
    """Walk through any bytes as protobuf."""
    check_messages(data, GraphDef, "it")


def litert(data: bytes) -> None:
    """Let a LiteRT file pass, or say in a sentence why not."""
    with suppress(GraphError):
        check_litert(data, "it")


def archive(data: bytes) -> None:
    """Unpack below one folder, or refuse."""
    with tempfile.TemporaryDirectory(dir=_folder()) as holder:
        with suppress(ArchiveRefused, tarfile.TarError, EOFError, OSError, zlib.error, ValueError):
            unpack(io.BytesIO(data), Path(holder) / "module")
        assert {path.name for path in Path(holder).iterdir()} <= {"module"}


def photos(data: bytes) -> None:
    """Unpack an archive of photos below one folder, or say in a sentence why not."""
    with tempfile.TemporaryDirectory(dir=_folder()) as holder:
        path = Path(holder) / "photos.zip"
        path.write_bytes(data)
        # An output that cannot be written has a name that the system refuses.
        with suppress(DataError, OutputError):
            as_folder(path, Path(holder) / "cache")
        assert {path.name for path in Path(holder).iterdir()} <= {"photos.zip", "cache"}


def manifest(data: bytes) -> None:
    """Read the rows of a manifest, or name the line that is wrong."""
    with suppress(DataError):
        read_manifest(_written("list.csv", data))


def heif(data: bytes) -> None:
    """Find the size of a HEIF image, or none; the pixels are decoded in a child."""
    file = io.BytesIO(data)
    is_heif(file)
    assert min(read_header(file).size) >= 0
    with suppress(ImageError):
        check_whole(file)


_VECTOR = np.array([0.5, 1.5, -2.0], np.float32)


def _image_seeds() -> list[bytes]:
    ramp = np.arange(40 * 30 * 3, dtype=np.uint32).reshape(30, 40, 3) * 7 % 256
    photo = Image.fromarray(ramp.astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = []
    for form, options in (
        ("JPEG", {"exif": exif}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {}),
        ("WEBP", {}),
        ("PPM", {}),
        ("ICO", {}),
        ("TGA", {}),
    ):
        buffer = io.BytesIO()
        photo.save(buffer, form, **options)  # type: ignore[arg-type]
        seeds.append(buffer.getvalue())
    return seeds


def _cache_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as holder:
        with BottleneckStore(Path(holder)) as store:
            store.put("network", None, {"0" * 64: _VECTOR})
        return [(Path(holder) / FILE_NAME).read_bytes()]


def _torch_seeds() -> list[bytes]:
    magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    head = magic + b"\x80\x02M\xe9\x03." + b"\x80\x02}X\x0d\0\0\0little_endian\x88s."

    def text(value: bytes) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value

    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"7") + text(b"cpu")
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((" + storage[1:] + b"K\x06NtQK\0K\x02K\x03\x86"
    tensor += b"K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
    state = b"\x80\x02ccollections\nOrderedDict\n)R(" + text(b"weight") + tensor + b"u."
    keys = b"\x80\x02](" + text(b"7") + b"e."
    return [head + state + keys + struct.pack("<Q6f", 6, *range(6))]


def network() -> GraphDef:
    """Return a retrained graph in small."""
    return new_graph(
        [
            placeholder("Placeholder", np.float32, (None, 8, 8, 3)),
            const("weights", np.ones((1, 1, 3, 4), np.float32)),
            node(
                "conv", "Conv2D", ["Placeholder", "weights"],
                T=np.float32, strides=[1, 1, 1, 1], padding="SAME",
            ),
            const("axes", np.array([1, 2], np.int32)),
            node("mean", "Mean", ["conv", "axes"], T=np.float32, Tidx=np.int32, keep_dims=False),
            const("shape", np.array([-1, 4], np.int32)),
            node("flat", "Reshape", ["mean", "shape"], T=np.float32, Tshape=np.int32),
            const("final", np.ones((4, 2), np.float32)),
            node("product", "MatMul", ["flat", "final"], T=np.float32),
            node("final_result", "Softmax", ["product"], T=np.float32),
        ]
    )  # fmt: skip


def _graph_seeds() -> list[bytes]:
    jpeg = new_graph(
        [
            placeholder("DecodeJpeg/contents", np.bytes_, ()),
            node("DecodeJpeg", "DecodeJpeg", ["DecodeJpeg/contents"], channels=3),
            node("Cast", "Cast", ["DecodeJpeg"], SrcT=np.uint8, DstT=np.float32),
            const("dim", np.int32(0)),
            node("ExpandDims", "ExpandDims", ["Cast", "dim"], T=np.float32),
            const("size", np.array([8, 8], np.int32)),
            node("ResizeBilinear", "ResizeBilinear", ["ExpandDims", "size"], T=np.float32),
            const("mean", np.float32(128)),
            node("Sub", "Sub", ["ResizeBilinear", "mean"], T=np.float32),
            const("flat/shape", np.array([-1, 192], np.int32)),
            node("flat", "Reshape", ["Sub", "flat/shape"], T=np.float32),
            const("final", np.ones((192, 2), np.float32)),
            node("product", "MatMul", ["flat", "final"], T=np.float32),
            node("final_result", "Softmax", ["product"], T=np.float32),
        ]
    )
    return [network().SerializeToString(), jpeg.SerializeToString()]


def _saved_model_seeds() -> list[bytes]:
    from tlcli.graph.messages import SavedModel

    model = SavedModel()
    meta = model.meta_graphs.add()
    meta.graph_def.CopyFrom(network())
    meta.signature_def["serving_default"].outputs["scores"].name = "final_result:0"
    meta.saver_def.restore_op_name = "conv"
    function = meta.graph_def.library.function.add()
    function.signature.name = "body"
    function.node_def.append(node("inner", "AddV2"))
    return [model.SerializeToString()]


def _litert_seeds() -> list[bytes]:
    made = LiteRTModel()
    image = made.add_tensor("image", (None, 8, 8, 3))
    weights = made.add_constant("weights", np.ones((2, 1, 1, 3), np.float32))
    bias = made.add_constant("bias", np.zeros(2, np.float32))
    last = made.add_tensor("features", (None, 8, 8, 2))
    window = OperatorOptions(1, (("int8", 0), ("int32", 1), ("int32", 1)))
    made.add_operator(3, [image, weights, bias], [last], window)
    return [made.serialise([image], [last])]


def _archive_seeds() -> list[bytes]:
    seeds = []
    for mode in ("w", "w:gz", "w:xz"):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode=mode) as made:  # type: ignore[call-overload]
            for name in ("./saved_model.pb", "variables/" + "v" * 120):
                entry = tarfile.TarInfo(name)
                entry.size = 4
                made.addfile(entry, io.BytesIO(b"data"))
        seeds.append(content.getvalue())
    return seeds


def _zip_seeds() -> list[bytes]:
    seeds = _archive_seeds()[:1]
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", method) as made:
            made.writestr("photos/cat/1.jpg", b"data" * 9)
            made.writestr("photos/dog/2.jpg", b"data")
        seeds.append(content.getvalue())
    return seeds


def _manifest_seeds() -> list[bytes]:
    return [
        b'path,label,split\na/1.jpg,cat,train\n"b,2.jpg",dog,test\n',
        b"1.jpg\tcat\n2.jpg\tdog\n",
        b'{"path": "1.jpg", "label": "a"}\n{"path": "2.jpg", "label": "b", "split": "val"}\n',
    ]


def _heif_seeds() -> list[bytes]:
    folder = Path(__file__).resolve().parents[1] / "core" / "images" / "heic"
    return [path.read_bytes() for path in sorted(folder.glob("*.heic"))[:3]]


def _card_seeds() -> list[bytes]:
    card = ModelCard(
        labels=("a", "b"),
        input=CardInput(
            "Placeholder", 8, 8, (0.0, 1.0), _OWN.to_dict() | {"height": 8, "width": 8}
        ),
        output="final_result",
        files={"output_graph.pb": "0" * 64},
        created="2026-01-01",
    )
    return [card.to_json().encode()]


@dataclass(frozen=True)
class Target:
    """A function to be fuzzed, and files to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    largest: int = 4096


TARGETS = {
    "images": Target(images, _image_seeds),
    "labels": Target(labels, lambda: [b"daisy\nrose\n", b"\xff\xfea\0\n\0", b"a\r\n\r\nb"]),
    "bottleneck_text": Target(bottleneck_text, lambda: [b"0.5,1e-3,-2.25,3", b"1,2\n"]),
    "cache": Target(cache, _cache_seeds, 65536),
    "model_card": Target(model_card, _card_seeds),
    "torch_file": Target(torch_file, _torch_seeds),
    "graph": Target(graph, _graph_seeds, 8192),
    "saved_model": Target(saved_model, _saved_model_seeds),
    "messages": Target(messages, _graph_seeds),
    "litert": Target(litert, _litert_seeds),
    "packed_litert": Target(
        lambda data: read_packed(_folder() / "graph.tflite", data),
        lambda: packed_seeds(*_litert_seeds()),
    ),
    "archive": Target(archive, _archive_seeds, 16384),
    "photos": Target(photos, _zip_seeds, 16384),
    "manifest": Target(manifest, _manifest_seeds),
    "heif": Target(heif, _heif_seeds),
}
