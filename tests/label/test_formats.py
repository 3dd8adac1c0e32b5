"""The four formats, byte for byte."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

import label.arguments.options
from label.formats import FORMATS, OutputStyle, Writer
from tlcli.core.classifier.outputs import Prediction, Score

DAISY = Prediction("a b.jpg", (Score("daisy", 0.99123456), Score('rose, "red"', 1e-07)))
BROKEN = Prediction("broken.jpg", error="truncated image")
NOTHING = Prediction("dull.jpg")
UNSURE = Prediction("c.jpg", unsure=Score("daisy", 0.9126))


def make_writer(style: OutputStyle, stream: io.StringIO, single: bool = False) -> Writer:
    return FORMATS[style.format](stream, style, single)


def written(name: str, *predictions: Prediction, single: bool = False) -> str:
    stream = io.StringIO()
    writer = make_writer(OutputStyle(name), stream, single)
    for prediction in predictions:
        writer.write(prediction)
    writer.close()
    return stream.getvalue()


def test_text_of_one_image() -> None:
    assert written("text", DAISY, single=True) == (
        'daisy (score=0.99123)\nrose, "red" (score=0.00000)\n'
    )


def test_text_of_several_images() -> None:
    assert written("text", DAISY, BROKEN, NOTHING) == (
        'a b.jpg\n  daisy (score=0.99123)\n  rose, "red" (score=0.00000)\n\ndull.jpg\n'
    )


def test_text_keeps_a_name_on_its_line_and_off_the_terminal() -> None:
    awkward = Prediction("a\n\x1b[31mb\u00e9.jpg", (Score("x\x9b2J\ud55c", 0.5),))
    expected = "a\\n\\x1b[31mb\u00e9.jpg\n  x\\x9b2J\ud55c (score=0.50000)\n"
    assert written("text", awkward) == expected


def test_json_lines() -> None:
    assert written("jsonl", DAISY, BROKEN, NOTHING) == (
        '{"image": "a b.jpg", "predictions": [{"label": "daisy", "score": 0.99123456}, '
        '{"label": "rose, \\"red\\"", "score": 1e-07}]}\n'
        '{"image": "broken.jpg", "error": "truncated image"}\n'
        '{"image": "dull.jpg", "predictions": []}\n'
    )


def test_json_is_a_list_also_for_one_image_and_for_none() -> None:
    lines = written("jsonl", DAISY, BROKEN).splitlines()
    assert json.loads(written("json", DAISY, BROKEN)) == [json.loads(line) for line in lines]
    assert json.loads(written("json", DAISY, single=True)) == [json.loads(lines[0])]
    assert json.loads(written("json")) == []


def test_csv() -> None:
    assert written("csv", DAISY, BROKEN, NOTHING) == (
        "image,label,score,rank,error\n"
        "a b.jpg,daisy,0.99123456,1,\n"
        'a b.jpg,"rose, ""red""",1e-07,2,\n'
        "broken.jpg,,,,truncated image\n"
        "dull.jpg,,,,\n"
    )


def test_what_no_score_reaches_has_its_best_score() -> None:
    line = "unsure (best: daisy, 0.913)"
    assert written("text", UNSURE, single=True) == f"{line}\n"
    assert written("text", UNSURE, NOTHING) == f"c.jpg\n  {line}\n\ndull.jpg\n"
    # No error: a row with one has a reason in the last column.
    assert written("csv", UNSURE).splitlines()[1] == "c.jpg,,,,"
    expected = {"label": "daisy", "score": 0.9126}
    for name in ("json", "jsonl"):
        found = json.loads(written(name, UNSURE))
        found = found[0] if name == "json" else found
        assert found == {"image": "c.jpg", "predictions": [], "best": expected}


@pytest.mark.parametrize(
    ("score", "threshold", "shown"),
    [(0.9126, 0.95, "0.913"), (0.9996, 0.9999, "0.9996"), (-0.25, 0.0, "-0.250")],
)
def test_the_best_score_is_seen_to_be_below(score: float, threshold: float, shown: str) -> None:
    unsure = Prediction("c.jpg", unsure=Score("a\nb", score))
    stream = io.StringIO()
    style = OutputStyle("text", threshold=threshold, colour=True)
    make_writer(style, stream, single=True).write(unsure)
    assert stream.getvalue() == f"\x1b[33munsure (best: a\\nb, {shown})\x1b[0m\n"


def test_csv_of_an_awkward_name_is_read_back() -> None:
    name = 'a,b\n"c".jpg'
    rows = list(csv.reader(io.StringIO(written("csv", Prediction(name, (Score("x", 1.0),))))))
    assert rows[1] == [name, "x", "1.0", "1", ""]


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_json_of_names_that_are_no_unicode(name: str) -> None:
    text = written(name, Prediction("\udcff.jpg", error="x"), Prediction("집.jpg", error="x"))
    assert text.encode()  # what standard output does
    found = json.loads(text) if name == "json" else [json.loads(x) for x in text.splitlines()]
    assert [each["image"] for each in found] == ["\udcff.jpg", "집.jpg"]
    assert "집" in text


@pytest.mark.parametrize("name", ["text", "jsonl", "csv"])
def test_each_result_is_there_at_once(name: str) -> None:
    class Flushed(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    stream = Flushed()
    writer = make_writer(OutputStyle(name), stream)
    for count in (1, 2):
        writer.write(DAISY)
        assert stream.flushes == count


def test_colours_change_nothing_but_themselves() -> None:
    stream = io.StringIO()
    writer = make_writer(OutputStyle("text", colour=True), stream)
    for prediction in (DAISY, BROKEN, Prediction("b", (Score("x", 0.4),))):
        writer.write(prediction)
    painted = stream.getvalue()
    assert painted.startswith("\x1b[1ma b.jpg\x1b[0m\n  \x1b[32mdaisy (score=0.99123)\x1b[0m\n")
    assert "\x1b[33mx (score=0.40000)\x1b[0m" in painted
    plain = re.sub(r"\x1b\[\d+m", "", painted)
    assert plain == written("text", DAISY, BROKEN, Prediction("b", (Score("x", 0.4),)))


def test_csv_for_a_spreadsheet() -> None:
    stream = io.StringIO()
    writer = make_writer(OutputStyle("csv", spreadsheet=True), stream)
    writer.write(Prediction("=1.jpg", (Score("@x", 0.5), Score("y", -0.25))))
    assert stream.getvalue() == (
        "\ufeffimage,label,score,rank,error\n'=1.jpg,'@x,0.5,1,\n'=1.jpg,y,-0.25,2,\n"
    )
    assert written("csv", Prediction("=1.jpg", (Score("@x", 0.5),))).endswith(
        "\n=1.jpg,@x,0.5,1,\n"
    )


@pytest.mark.parametrize("name", ["a\rb.jpg", "a\nb.jpg", 'a"b,c.jpg'])
def test_csv_keeps_a_row_a_row(name: str) -> None:
    stream = io.StringIO()
    writer = make_writer(OutputStyle("csv"), stream)
    writer.write(Prediction(name, (Score("daisy", 0.5),)))
    writer.write(Prediction(name, error="no\rsuch"))
    stream.seek(0)
    rows = list(csv.reader(io.StringIO(stream.getvalue(), newline="")))
    assert rows[1:] == [[name, "daisy", "0.5", "1", ""], [name, "", "", "", "no\rsuch"]]


def test_the_command_offers_every_format() -> None:
    assert tuple(FORMATS) == label.arguments.options.FORMATS
