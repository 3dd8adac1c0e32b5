"""The installed command, asked over a socket: right and wrong requests, and its end."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.serve.running import Server, running
from tests.support import ROOT, Trained, tlcli

PREDICT = "/v1/models/houses:predict"
LIMIT = 3_000_000


@pytest.fixture(scope="module")
def server(trained: Trained) -> Iterator[Server]:
    with running(
        *("--graph", trained.graph, "--name", "houses"),
        *("--max_bytes", LIMIT, "--max_pixels", 4_000_000),
    ) as found:
        yield found


def photo(trained: Trained, folder: str) -> Path:
    return next(path for path in sorted((trained.photos / folder).iterdir()) if path.stat().st_size)


def rows(*files: bytes) -> str:
    return json.dumps({"instances": [{"b64": base64.b64encode(file).decode()} for file in files]})


def test_scores_are_those_of_label(server: Server, trained: Trained) -> None:
    photos = [photo(trained, "house_with_pool"), photo(trained, "house_without_pool")]
    status, answer = server.ask("POST", PREDICT, rows(*(path.read_bytes() for path in photos)))
    assert status == 200
    labelled = tlcli("label", "--graph", trained.graph, *photos, "--format", "jsonl")
    labels = server.ask("GET", "/v1/models/houses/metadata")[1]["metadata"]["labels"]
    assert labels == ["house with pool", "house without pool"]
    for scores, line in zip(answer["predictions"], labelled.out.splitlines(), strict=True):
        expected = {each["label"]: each["score"] for each in json.loads(line)["predictions"]}
        assert dict(zip(labels, scores, strict=True)) == expected


def test_numbers_give_the_scores_of_their_image(server: Server, trained: Trained) -> None:
    from tlcli.core.images.preprocessing import Preprocessing

    content = photo(trained, "house_with_pool").read_bytes()
    made = Preprocessing("tlcli-1", 224, 224)
    pixels = made.scale(made.read(content)[None])[0]
    body = json.dumps({"inputs": {"image": [pixels.astype(float).round(4).tolist()]}})
    status, answer = server.ask("POST", PREDICT, body)
    assert status == 200, answer
    expected = server.ask("POST", PREDICT, rows(content))[1]["predictions"][0]
    assert answer["outputs"][0] == pytest.approx(expected, abs=1e-3)


def test_the_commands_of_the_documents(server: Server, trained: Trained, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    shutil.copy(photo(trained, "house_with_pool"), tmp_path / "new.jpg")
    shutil.copy(photo(trained, "house_with_pool"), tmp_path / "photo.jpg")
    document = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    page = html.unescape(server.ask("GET", "/")[1])
    lines = [
        line.replace("http://127.0.0.1:8501", server.url).replace("models/model:", "models/houses:")
        for line in document.splitlines()
        if line.startswith("curl --data-binary")
    ]
    lines += [
        re.sub('<span class="address">(.*)</span>', rf"{server.url}\1", found)
        for found in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    ]
    assert len(lines) == 5
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        answer = json.loads(done.stdout)
        if "/label" in line:
            best = answer.get("best") or answer["predictions"][0]
            assert best["label"] in ("house with pool", "house without pool")
        else:
            assert sum(answer["predictions"][0]) == pytest.approx(1)


def bomb(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 200_000
    return buffer.getvalue()


def test_wrong_requests_are_answered_and_the_server_goes_on(
    server: Server, trained: Trained
) -> None:
    for body, status, text in (
        ("{", 400, "no JSON"),
        ('{"instances": [{"b64": "%%%"}]}', 400, "no base64"),
        (rows(b"not an image at all"), 400, "instance 1: not an image"),
        (rows(bomb(9000)), 400, "too large: 9000 x 9000 pixels (limit 4000000 pixels)"),
        # More than the decoder itself takes.
        (rows(bomb(14_000)), 400, "too large: 14000 x 14000 pixels"),
        (b"x" * (LIMIT + 1), 413, "larger than 3000000 bytes"),
        (b"x" * (20 * LIMIT), 413, "larger than 3000000 bytes"),
    ):
        found, answer = server.ask("POST", PREDICT, body)
        assert found == status, text
        assert text in answer["error"]
    chunks = (b"x" * 100_000 for _ in range(60))
    headers = {"Transfer-Encoding": "chunked"}
    assert server.ask("POST", PREDICT, chunks, headers, chunked=True)[0] == 413
    assert server.ask("POST", "/v1/models/other:predict", rows(b""))[0] == 404
    assert server.ask("GET", "/", headers={"Host": "evil.example"})[0] == 403
    content = photo(trained, "house_with_pool").read_bytes()
    assert server.ask("POST", PREDICT, rows(content))[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
    ],
    ids=["garbage", "tls", "no host", "long head", "bad length", "cut short"],
)
def test_what_is_no_request_does_no_harm(server: Server, sent: bytes) -> None:
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=300) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1000)
        except OSError:  # it hung up while we were speaking
            answer = b""
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert server.ask("GET", "/v1/models/houses")[0] == 200


def test_many_at_once(server: Server, trained: Trained) -> None:
    bodies = [
        rows(photo(trained, folder).read_bytes())
        for folder in ("house_with_pool", "house_without_pool")
    ]
    alone = [server.ask("POST", PREDICT, body)[1] for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda body: server.ask("POST", PREDICT, body)[1], bodies * 8))
    assert found == alone * 8


def test_interrupted_it_leaves_with_130(trained: Trained) -> None:
    with running("--graph", trained.graph) as server:
        status, answer = server.ask("POST", "/page/label", bomb(500))
        assert status == 200
        assert answer["heat_map"].startswith("data:image/jpeg")
        # A connection that is kept open does not hold it up.
        place = urlsplit(server.url)
        with socket.create_connection((place.hostname, place.port)):
            code, err = server.stop(signal.SIGINT)
    assert code == 130
    assert err.strip() == "Interrupted."


def test_who_connects_and_says_nothing_is_hung_up_on(trained: Trained) -> None:
    program = (
        "import sys\n"
        "from tests.serve.asking import application\n"
        "from tlcli.serve.limits import Limits\n"
        "from tlcli.serve.server import address_of, open_socket, serve\n"
        "listening = open_socket('127.0.0.1', 0)\n"
        "limits = Limits(head_seconds=0.3)\n"
        "serve(application(limits), listening, limits,\n"
        "      lambda: print(address_of(listening), flush=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    try:
        assert process.stdout is not None
        place = urlsplit(process.stdout.readline().strip())
        for start in (b"", b"GET / HTTP/1.1\r\nHost: loc"):
            with socket.create_connection((place.hostname, place.port), timeout=300) as connection:
                connection.sendall(start)
                assert connection.recv(100) == b""
    finally:
        process.kill()
        process.communicate()


def test_no_tensorflow_for_a_graph_that_litert_runs(trained: Trained) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tlcli.serve.model import open_model\n"
        f"model = open_model(Path({str(trained.graph)!r}), 'model', 10**6)\n"
        "assert model.no_heat_maps is None, model.no_heat_maps\n"
        "print(sorted({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))\n"
        "model.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
