"""The installed command and an HTTP client: decisions, undo, kills, two windows, strangers."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.review.reviewing import Client, files, reviewing
from tests.support import Trained

WITH, WITHOUT = "house with pool", "house without pool"


def contents(folder: Path) -> list[bytes]:
    """Return the contents of all photos, wherever they are."""
    found = files(folder)
    return sorted(text for name, text in found.items() if not name.endswith("moved.jsonl"))


def unanswered(client: Client, asked: dict[str, Any]) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        client.decide(**asked)


@pytest.mark.slow
def test_keep_move_remove_and_undo_also_after_a_restart(photos: Path, trained: Trained) -> None:
    folder, before = photos.parent, files(photos)
    with reviewing(photos, trained) as client:
        page = client.cards("wrong_labels")
        counts = {each["kind"]: each["count"] for each in page["kinds"]}
        assert counts["wrong_labels"] >= 2
        assert (counts["copies"], counts["unreadable"], counts["changes"]) == (1, 1, 0)
        assert not (folder / "photos_removed").exists()
        wrong = client.find("wrong_labels", "moved_")
        card = next(each for each in page["cards"] if each["card"] == wrong["card"])
        (photo,) = card["photos"]
        assert (photo["label"], photo["proposed"]) == (WITHOUT, WITH)
        assert {each["label"] for each in card["near"]} == {WITH}
        path = f"/picture/{page['check']}/{card['card']}"
        for index in range(1 + len(card["near"])):
            status, picture, headers = client.ask("GET", f"{path}/{index}")
            assert (status, headers["content-type"]) == (200, "image/jpeg")
            assert picture.startswith(b"\xff\xd8")
        said = client.decide(**wrong, action="move", label=WITH)
        assert said == {"said": f"{photo['file']} was moved to {WITH}"}
        assert (photos / "house_with_pool" / photo["file"]).exists()
        copy = client.find("copies", "same_")
        assert "removed" in client.decide(**copy, action="remove")["said"]
        assert list((folder / "photos_removed" / "house_with_pool").glob("same_*"))
        black = client.find("odd", "black.jpg")
        assert client.decide(**{**black, "photo": None}, action="keep")["said"]
        # Undone at once.
        again = client.find("wrong_labels", photo["file"])
        assert client.decide(**again, action="undo")["said"].endswith("back in its place")
        assert (photos / "house_without_pool" / photo["file"]).exists()
        again = client.find("wrong_labels", photo["file"])
        assert "said" in client.decide(**again, action="move", label=WITH)
    with reviewing(photos, trained) as client:
        page = client.cards("changes")
        assert [each["count"] for each in page["kinds"][1:3]] == [0, 0]
        assert page["kept_before"] == 1
        assert [each["text"].partition(" ")[0] for each in page["cards"]] == [
            *("moved", "kept", "removed"),
        ]
        assert client.ask("GET", f"/changed/{page['cards'][2]['change']}")[1].startswith(b"\xff")
        for each in page["cards"]:
            assert "said" in client.decide(change=each["change"])
        assert client.cards("changes")["cards"] == []
    assert files(photos) == before
    assert list(files(folder / "photos_removed")) == ["moved.jsonl"]


@pytest.mark.slow
def test_two_windows_do_not_undo_each_other(client: Client, photos: Path) -> None:
    stale = client.find("wrong_labels", "moved_")
    before = contents(photos.parent)
    assert "said" in client.decide(**stale, action="remove")
    for action in ("move", "remove"):
        answer = client.decide(**stale, action=action, label=WITH)
        assert answer == {"error": "this photo was changed in another window", "conflict": True}
    black = {**client.find("odd", "black.jpg"), "photo": None}
    assert "said" in client.decide(**black, action="keep")
    assert client.decide(**black, action="keep")["conflict"]
    old = client.find("wrong_labels", "moved_")
    assert client.ask("POST", "/check", {})[0] == 200
    while client.cards("odd")["checking"] is not None:
        assert client.decide(**old, action="undo")["conflict"]
        time.sleep(0.05)
    assert client.cards("odd")["problem"] == ""
    assert "checked again" in client.decide(**old, action="undo")["error"]
    assert client.cards("odd")["kept_before"] == 1
    assert contents(photos.parent) == before


@pytest.mark.slow
def test_a_kill_in_the_middle_of_many_moves_loses_nothing(photos: Path, trained: Trained) -> None:
    before = contents(photos.parent)
    for _ in range(2):
        with reviewing(photos, trained) as client:
            wrong = client.find("wrong_labels", "moved_")
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                action = "undo" if wrong["seen"] else "remove"
                client.decide(**wrong, action=action)
                wrong = client.find("wrong_labels", "moved_")
            # A decision whose answer never comes.
            action = "undo" if wrong["seen"] else "remove"
            asking = threading.Thread(target=unanswered, args=(client, {**wrong, "action": action}))
            asking.start()
            client.process.send_signal(signal.SIGKILL)
            asking.join()
        # What a kill between the journal and the move leaves.
        journal = photos.parent / "photos_removed" / "moved.jsonl"
        source = sorted((photos / "house_with_pool").glob("aerial*"))[0]
        number = 100_000 + len(journal.read_text())
        line = {"id": number, "from": str(source), "to": str(journal.parent / source.name)}
        with journal.open("a") as stream:
            stream.write(json.dumps(line) + "\n" + '{"id": 3, "fr')
        with reviewing(photos, trained) as client:
            assert not source.exists()
            assert "said" in client.decide(change=number)
            assert source.exists()
            assert contents(photos.parent) == before
            # The kill left the photo where it was, or removed it.
            for each in client.cards("changes")["cards"]:
                assert "said" in client.decide(change=each["change"])


@pytest.mark.slow
def test_strangers_and_paths_are_refused(client: Client, photos: Path) -> None:
    before = files(photos)
    wrong = {**client.find("wrong_labels", "moved_"), "action": "remove"}
    for changed in (
        {"Cookie": None},
        {"Cookie": "tlcli-review=guess"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{int(client.host.partition(':')[2]) + 1}"},
        {"Origin": None},
        {"Host": "evil.example"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
    ):
        assert client.ask("POST", "/decide", wrong, **changed)[0] in (403, 415), changed
    assert client.ask("GET", "/", Cookie=None)[0] == 403
    assert client.ask("GET", "/?key=guess", Cookie=None)[0] == 403
    for path in (
        *("/cards?kind=wrong_labels", "/changed/1", f"/picture/{wrong['check']}/0/0"),
        "/?key=%ff",
    ):
        assert client.ask("GET", path, Cookie=None)[0] == 403
    for path in (
        f"/picture/{wrong['check']}/../../etc/passwd",
        f"/picture/{wrong['check']}/0/..%2f..%2fetc%2fpasswd",
        "/changed/%2e%2e%2fpasswd",
    ):
        assert client.ask("GET", path)[0] == 404, path
    for asked in (
        {"label": "../../elsewhere", "action": "move"},
        {"label": "/etc", "action": "move"},
        {"card": 10_000},
        {"card": -1},
        {"photo": 7},
        {"photo": -1},
        {"check": "another"},
    ):
        assert "error" in client.decide(**{**wrong, **asked}), asked
    for body in (
        '{"card": "x"}',
        "[]",
        "{",
        '{"change": true}',
        json.dumps({**wrong, "seen": 1.5}),
    ):
        assert client.ask("POST", "/decide", body)[0] == 400, body
    assert client.ask("POST", "/decide", "[" * 100_000)[0] in (400, 413)
    assert "error" in client.decide(change=12)
    assert files(photos) == before


@pytest.mark.slow
def test_names_that_are_taken_and_folders_that_are_links(photos: Path, trained: Trained) -> None:
    pool, none = photos / "house_with_pool", photos / "house_without_pool"
    moved = sorted(none.glob("moved_*"))
    (pool / moved[0].name).write_bytes((pool / "broken.jpg").read_bytes())
    outside = photos.parent / "outside"
    outside.mkdir()
    real = sorted(none.glob("moved_*"))[1].rename(outside / "linked.jpg")
    (none / "inside").symlink_to(outside, target_is_directory=True)
    link = none / "moved_link.jpg"
    link.symlink_to("../../outside/linked.jpg")
    before = contents(photos.parent)
    with reviewing(photos, trained) as client:
        taken = client.find("wrong_labels", moved[0].name)
        said = client.decide(**taken, action="move", label=WITH)["said"]
        assert said.endswith(f"as {moved[0].stem}-2.jpg")
        assert (pool / f"{moved[0].stem}-2.jpg").exists()
        through = client.find("copies", "inside/linked.jpg")
        assert "is a link to" in client.decide(**through, action="remove")["error"]
        linked = client.find("copies", "moved_link.jpg")
        assert "said" in client.decide(**linked, action="move", label=WITH)
        assert (pool / link.name).is_symlink()
        assert (pool / link.name).read_bytes() == real.read_bytes()
        linked = client.find("copies", "moved_link.jpg")
        assert "said" in client.decide(**linked, action="undo")
        assert str(link.readlink()) == "../../outside/linked.jpg"
    assert contents(photos.parent) == before
