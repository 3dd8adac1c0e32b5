"""The application without a socket: answers, limits, and who may ask."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.serve.asking import PREDICT, Mapper, application, ask, ask_async, model, picture, rows
from tlcli.errors import GraphError
from tlcli.litert.pool import LiteRTPool
from tlcli.serve.app import make_app
from tlcli.serve.asked import Shown
from tlcli.serve.limits import Limits


@pytest.fixture(scope="module")
def app() -> Any:
    return application()


def test_scores_come_in_the_order_of_the_labels(app: Any) -> None:
    found = ask(app, "POST", PREDICT, rows(picture("red"), picture("blue", kind="GIF")))
    assert found.status == 200
    assert found.headers["content-type"] == "application/json"
    red, blue = found.json["predictions"]
    assert red[0] > 0.99
    assert blue[2] > 0.99
    # Nothing but the shortest text of each float32.
    assert len(str(red[1])) < 14


def test_numbers_are_scored_too(app: Any) -> None:
    pixels = [[[0.0, 1.0, 0.0]] * 4] * 4
    found = ask(app, "POST", PREDICT, json.dumps({"inputs": {"image": [pixels] * 3}}).encode())
    assert [row.index(max(row)) for row in found.json["outputs"]] == [1, 1, 1]


def test_a_bad_image_does_not_take_the_others(app: Any) -> None:
    found = ask(
        app, "POST", PREDICT, rows(b"text", picture("blue"), b"", picture("red", 64, "JPEG")[:300])
    )
    assert found.status == 200
    bad, good, empty, cut = found.json["predictions"]
    assert bad == {"error": "not an image"}
    assert good[2] > 0.99
    assert empty == {"error": "empty file"}
    assert "error" in cut
    found = ask(app, "POST", PREDICT, rows(b"text"))
    assert found.status == 400
    assert found.json == {"error": "instance 1: not an image"}


def test_large_images_are_refused_before_they_are_decoded() -> None:
    app = application(Limits(max_bytes=100_000, max_pixels=1_000_000))
    bomb = picture(side=1001)
    assert len(bomb) < 20_000
    found = ask(app, "POST", PREDICT, rows(bomb, picture("red", side=1000)))
    assert found.json["predictions"][0] == {
        "error": "too large: 1001 x 1001 pixels (limit 1000000 pixels)"
    }
    assert found.json["predictions"][1][0] > 0.99
    assert "too large" in ask(app, "POST", "/label", bomb).json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/colours", 200),
        ("HEAD", "/v1/models/colours", 200),
        ("GET", "/v1/models/colours/versions/1", 200),
        ("GET", "/v1/models/colours/metadata", 200),
        ("GET", "/v1/models/colours/versions/1/metadata", 200),
        ("POST", "/v1/models/colours/versions/1:predict", 200),
        ("GET", "/v1/models/other", 404),
        ("POST", "/v1/models/other:predict", 404),
        ("GET", "/v1/models/colours/versions/2", 404),
        ("GET", "/v1/models/colours/labels/stable", 404),
        ("GET", "/v1/models/colours/nothing", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "/v1/models", 404),
        ("GET", "/nothing", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", PREDICT, 405),
        ("POST", "/v1/models/colours", 405),
        ("PUT", PREDICT, 405),
        ("GET", "/label", 405),
        ("GET", "/page/label", 405),
        ("GET", "/page", 404),
        ("POST", "/v1/models/colours:classify", 400),
        ("GET", "/", 200),
        ("POST", "/", 405),
    ],
)
def test_addresses(app: Any, method: str, path: str, status: int) -> None:
    found = ask(app, method, path, rows(picture()))
    assert found.status == status
    if status != 200:
        assert list(found.json) == ["error"]
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in found.headers
    assert "default-src 'none'" in found.headers["content-security-policy"]


def test_labels_and_pictures_for_the_page() -> None:
    shown = Shown(top_k=2, threshold=2.0)  # the page itself decides what is unsure
    app = application(mapper=Mapper(), shown=shown)
    found = ask(app, "POST", "/page/label", picture("green")).json
    assert [each["label"] for each in found["predictions"]] == ["green", "red"]
    assert found["predictions"][0]["score"] > 0.99
    assert found["mapped"] == found["predictions"][0]["index"] == 1
    other = ask(app, "POST", "/page/label?map=0", picture("green")).json
    assert other["mapped"] == 0
    pictures = {found["picture"], found["heat_map"], other["heat_map"]}
    assert len(pictures) == 3
    assert all(each.startswith("data:image/jpeg;base64,") for each in pictures)
    without = ask(application(), "POST", "/page/label", picture("green")).json
    assert without["heat_map"] is None
    assert ask(application(), "POST", "/page/label", b"text").json == {"error": "not an image"}
    for wrong in ("3", "-1", "x", "", "9" * 5000):
        assert ask(app, "POST", f"/page/label?map={wrong}", picture()).status == 400


def test_one_image_file_as_it_is(app: Any) -> None:
    for headers in (
        {},
        {"content-type": "application/x-www-form-urlencoded"},  # curl's own
        {"content-type": "application/octet-stream"},
        {"content-type": "IMAGE/PNG; x=y"},
    ):
        found = ask(app, "POST", "/label", picture("blue"), headers)
        assert found.status == 200
        assert found.json["predictions"][0]["label"] == "blue"
        assert set(found.json["predictions"][0]) == {"label", "score"}
        assert set(found.json) == {"predictions"}
    for content_type, reason in (
        ("application/json", "send JSON to /v1/models/NAME:predict"),
        ("multipart/form-data; boundary=x", "curl --data-binary @photo.jpg"),
        ("text/plain", "not text/plain"),
        ("\x1b[31m", "not that"),
    ):
        found = ask(app, "POST", "/label", picture(), {"content-type": content_type})
        assert found.status == 415
        assert reason in found.json["error"]
    found = ask(app, "POST", "/label", b"text")
    assert (found.status, found.json) == (400, {"error": "not an image"})
    # What "curl -d @photo.jpg" sends: a form, without the line ends of the file.
    form = {"content-type": "application/x-www-form-urlencoded"}
    found = ask(app, "POST", "/label", picture().replace(b"\n", b"").replace(b"\r", b""), form)
    assert found.status == 400
    assert found.json["error"].endswith(
        "; with curl: curl --data-binary @photo.jpg (-d changes it)"
    )
    found = ask(app, "PUT", "/label", picture())  # curl -T
    assert "this address takes POST; with curl: curl --data-binary" in found.json["error"]


def test_one_image_file_on_the_address_of_tensorflow_serving(app: Any) -> None:
    found = ask(app, "POST", PREDICT, picture("blue"), {"content-type": "image/png"})
    assert found.status == 200
    [scores] = found.json["predictions"]
    assert scores == ask(app, "POST", PREDICT, rows(picture("blue"))).json["predictions"][0]
    bad = ask(app, "POST", PREDICT, b"text", {"content-type": "image/png"})
    assert (bad.status, bad.json) == (400, {"error": "instance 1: not an image"})
    # Without its type it is taken for JSON, as clients declare that in many ways.
    untyped = ask(app, "POST", PREDICT, picture("blue"))
    assert untyped.status == 400
    assert "declare its type (Content-Type: image/jpeg)" in untyped.json["error"]
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
        sent = ask(app, "POST", PREDICT, rows(picture()), {"content-type": content_type})
        assert sent.status == 200
    form = ask(app, "POST", PREDICT, b"--x", {"content-type": "multipart/form-data; boundary=x"})
    assert form.status == 415
    assert "-H 'Content-Type: image/jpeg'" in form.json["error"]


def test_a_threshold_makes_images_unsure(app: Any) -> None:
    grey = picture("#808080")
    scores = ask(app, "POST", "/label?top_k=2", grey).json["predictions"]
    assert len(scores) == 2
    for threshold in ("0.5", "50%"):
        found = ask(app, "POST", f"/label?threshold={threshold}".replace("%", "%25"), grey)
        assert found.json == {"predictions": [], "best": scores[0]}
    by_option = application(shown=Shown(threshold=0.5))
    assert ask(by_option, "POST", "/label", grey).json == {"predictions": [], "best": scores[0]}
    assert len(ask(by_option, "POST", "/label?threshold=0", grey).json["predictions"]) == 3
    assert 'id="threshold" min="0" max="100" step="any" value="50"' in (
        ask(by_option, "GET", "/").body.decode()
    )
    for query in ("threshold=x", "threshold=nan", "top_k=0", "top_k=101", "top_k=1.5"):
        wrong = ask(app, "POST", f"/label?{query}", grey)
        assert wrong.status == 400
        assert query.partition("=")[0] in wrong.json["error"]


@pytest.mark.parametrize("preprocessing", ["tlcli-1", "label_image"])
def test_a_heat_map_lies_where_the_network_saw_it(preprocessing: Any) -> None:
    class Brightest:
        """A map that is warm where the network's image is bright."""

        shown: tuple[bool, ...] = ()

        def maps(self, batch: np.ndarray[Any, Any], labels: Any) -> np.ndarray[Any, Any]:
            return np.asarray(batch.mean(axis=3), np.float32)

        def close(self) -> None:
            return

    photo = Image.new("RGB", (80, 40))
    photo.paste("white", (0, 0, 20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    stream = io.BytesIO()
    photo.save(stream, "JPEG", exif=exif.tobytes())
    served = model(Brightest(), preprocessing=preprocessing)
    found = asyncio.run(served.show(stream.getvalue(), 1))
    served.close()
    shown, heat = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), float)
        for uri in (found["picture"], found["heat_map"])
    )
    bright = shown.mean(axis=2) > 128
    assert bright.shape == ((40, 80) if preprocessing == "label_image" else (80, 40))
    assert bright.mean() == pytest.approx(0.25, abs=0.02)
    # White turns yellow where it is warm: blue goes.
    blue = shown[..., 2] - heat[..., 2]
    assert blue[bright].mean() > 100 > 20 > blue[~bright].mean()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("preprocessing", ["tlcli-1", "label_image"])
def test_a_picture_that_is_not_upright_says_why(preprocessing: Any, kind: str) -> None:
    photo = Image.new("RGB", (80, 40), "red")
    photo.paste("white", (0, 0, 20, 10))
    served = model(preprocessing=preprocessing)
    for turned in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turned
        stream = io.BytesIO()
        photo.save(stream, kind, exif=exif.tobytes())
        found = asyncio.run(served.show(stream.getvalue(), 1))
        shown = Image.open(io.BytesIO(base64.b64decode(found["picture"].partition(",")[2])))
        # Pillow turns a TIFF upright by itself, whoever reads it.
        upright = preprocessing == "tlcli-1" or kind == "TIFF"
        assert shown.size == ((40, 80) if upright and turned >= 5 else (80, 40))
        assert ("EXIF" in found["caption"]) == (turned > 1 and not upright)
        assert upright or turned == 1 or "as the network saw it" in found["caption"]
    served.close()


def test_the_page_holds_everything_itself(app: Any) -> None:
    first, second = (ask(app, "GET", "/") for _ in range(2))
    page = first.body.decode()
    nonce = re.search(r"script-src 'nonce-([^']+)'", first.headers["content-security-policy"])
    assert nonce is not None
    assert page.count(f'nonce="{nonce[1]}"') == 2
    assert nonce[1] not in second.headers["content-security-policy"]
    assert not re.search(r"""(src|href)=(?!"data:)""", page)
    assert "No heat maps for this graph: it is a test." in page
    assert (
        "choose a label to see its map"
        in ask(application(mapper=Mapper()), "GET", "/").body.decode()
    )


def test_many_requests_at_once_run_one_after_the_other(app: Any) -> None:
    async def everyone() -> list[Any]:
        names = ("red", "green", "blue") * 8
        found = await asyncio.gather(
            *(ask_async(app, "POST", PREDICT, rows(picture(name, side=64))) for name in names)
        )
        return [
            answer.json["predictions"][0].index(max(answer.json["predictions"][0]))
            for answer in found
        ]

    assert asyncio.run(everyone()) == [0, 1, 2] * 8


def test_images_run_at_once_where_the_engine_allows_it() -> None:
    """Each run waits for another one: one after the other, they would wait in vain."""
    together = threading.Barrier(2, timeout=300)

    class Pool(LiteRTPool):
        def __init__(self) -> None:
            self.workers = 2
            self.crowded: list[bool] = []

        def run(self, batch: np.ndarray[Any, Any], crowded: bool = False) -> Any:
            together.wait()
            self.crowded.append(crowded)
            return np.full((len(batch), 3), 1 / 3, np.float32)

        def close(self) -> None:
            return

    engine = Pool()
    app = make_app(model(engine=engine), Limits())

    async def everyone() -> list[int]:
        asked = [ask_async(app, "POST", "/label", picture()) for _ in range(8)]
        return [found.status for found in await asyncio.gather(*asked)]

    assert asyncio.run(everyone()) == [200] * 8
    # Only the first one had the machine to itself.
    assert sorted(engine.crowded) == [False] + [True] * 7


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (GraphError("the graph cannot be run"), "the graph cannot be run"),
        (KeyError("x"), "KeyError"),
    ],
)
def test_a_failure_is_an_answer(
    error: Exception, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.serve.asking import Colours

    def fail(self: Any, batch: Any) -> Any:
        raise error

    app = application()
    with monkeypatch.context() as patch:
        patch.setattr(Colours, "run", fail)
        found = ask(app, "POST", PREDICT, rows(picture()))
        assert found.status == 500
        assert text in found.json["error"]
    assert ask(app, "POST", PREDICT, rows(picture())).status == 200


def test_a_photo_of_a_phone_is_labelled_and_shown(app: Any) -> None:
    folder = Path(__file__).resolve().parents[1] / "core" / "images" / "heic"
    content = (folder / "turned_6.heic").read_bytes()
    found = ask(app, "POST", PREDICT, content, {"content-type": "image/heic"})
    assert found.status == 200
    assert np.argmax(found.json["predictions"][0]) == 0  # red
    shown = ask(app, "POST", "/page/label", content).json["picture"]
    with Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))) as image:
        assert image.size[0] < image.size[1]  # upright
    damaged = (folder / "ends_libheif.bin").read_bytes()
    found = ask(app, "POST", PREDICT, damaged, {"content-type": "image/heic"})
    assert (found.status, found.json["error"]) == (
        400,
        "instance 1: damaged or unsupported image",
    )
