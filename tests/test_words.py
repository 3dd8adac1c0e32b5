"""Words that were replaced stay out of what people read: documents, help, pages and messages."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import tlcli.errors
from tests.support import ROOT, commands
from tlcli.cli import COMMANDS
from tlcli.cli import command as tlcli_command

# What is refused, and what to write instead.
WORDS = {
    r"graphics cards?": "GPU",
    r"held against|hold against|holds? \w+ against": "is checked against, is compared with",
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again",
    r"but for (a|an|the|those|its|one)": "except for",
    r"(folder|line|image|images|row|rows|vector) an? (label|image)|a (fold|vector|thread) a \w+": (
        "per label, per image"
    ),
    r"(milliseconds|microseconds|ms|MB|KB) an? (image|vector)": "per image, per vector",
    r"seal(s|ed|ing)?": "checksum trailer, embedded model card",
    r"kept graphs?": "cache of converted (or compiled) graphs",
    r"slopes?": "gradient",
    r"(is|are|was|were) told": "detected, given, reported",
    r"unless told otherwise": "by default",
    r"told (by|from|apart)": "detected by, distinguished from",
    r"chatter": "log lines",
    r"wrong use": "usage error",
    r"all that was asked for": "success",
    r"in hand": "prefetched",
    r"how far each step goes": "SGD learning rate",
    r"the regularised optimum|to its optimum": "logistic regression",
    r"(graph|network|model|engine|runtime)s? (want|know|say|answer|tell|lie)s?": (
        "graphs expect, networks predict, files contain"
    ),
    r"(is|are) fed|what to feed|fed wrongly": "input spec, preprocessing",
    r"(goes|go|went) on where": "resumes",
    r"of our own": "own, or name what is meant",
    r"where it lies|lies? beside|lies? in the (cache )?folder": "is in the folder",
    r"spelled": "formatted, written",
    r"on its side": "rotated",
    r"from nothing": "from scratch, clear the cache",
    r"all the same": "still",
    r"out of (a|the|its) (wheel|package)": "from",
}
REFUSED = re.compile("|".join(rf"(?P<_{n}>\b(?:{word})\b)" for n, word in enumerate(WORDS)), re.I)
ERRORS = {
    name
    for name, each in vars(tlcli.errors).items()
    if inspect.isclass(each) and issubclass(each, tlcli.errors.TlcliError)
}
LEVELS = {"debug", "info", "warning", "error", "exception"}
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.html")),
    *(path for ending in ("html", "js") for path in sorted((ROOT / "tlcli").rglob(f"*.{ending}"))),
]
SOURCES = [
    path
    for package in ("tlcli", "retrain", "label")
    for path in sorted((ROOT / package).rglob("*.py"))
]


def refused(text: str) -> list[str]:
    """Return every refused word of a text with what to write instead."""
    flat = re.sub(r"\s+", " ", text)
    instead = list(WORDS.values())
    return [
        f"{flat[max(0, found.start() - 40) : found.end() + 20]!r}: write "
        f"{instead[int(str(found.lastgroup)[1:])]!r}"
        for found in REFUSED.finditer(flat)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages(page: Path) -> None:
    assert not refused(page.read_text(encoding="utf-8"))


def test_the_notebook() -> None:
    for notebook in (ROOT / "examples").glob("*.ipynb"):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            assert not refused("".join(cell["source"]))


def test_help_of_every_command() -> None:
    found = dict(commands(tlcli_command, "tlcli"))
    assert {f"tlcli {name}" for name in COMMANDS} < set(found)
    for name, command in found.items():
        text = command.get_help(click.Context(command, info_name=name))
        assert not refused(text), name


def messages(path: Path) -> Iterator[str]:
    """Yield the text of errors that a module raises and of lines that it logs."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        owner, _, method = called.rpartition(".")
        is_log = method in LEVELS and owner.lower().strip("_") in ("log", "logger", "logging")
        if is_log or called in ERRORS or called.endswith("echo"):
            yield " ".join(
                part.value
                for argument in node.args
                for part in ast.walk(argument)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )


def test_messages() -> None:
    texts = {path: list(messages(path)) for path in SOURCES}
    assert sum(map(len, texts.values())) > 200
    found = {
        str(path.relative_to(ROOT)): lines
        for path, parts in texts.items()
        if (lines := [line for text in parts for line in refused(text)])
    }
    assert not found


def test_the_words_are_found_in_sentences() -> None:
    assert "GPU" in refused("It needs a Graphics\ncard.")[0]
    assert not refused("The cardinal rule; a mender; a dovetailed sealant.")
