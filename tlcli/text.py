"""Text for people: tables whose columns stand straight in every script, URLs without secrets."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import PurePath

# The letter of a Windows drive is no scheme.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_SCHEMES = "s3a?|gs|gcs|hdfs|https?"
# Also with one slash, which is what `Path` makes of two.
_READABLE = re.compile(f"(?:{_SCHEMES}):/", re.IGNORECASE)
_ONE_SLASH = re.compile(rf"(?<![\w/:.])({_SCHEMES}):/(?!/)", re.IGNORECASE)
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@'\"]*@")
_QUERY = re.compile(r"(https?://[^\s?#'\"]*)[?#][^\s'\"]*", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # except for tab and line feed

KNOWN_URLS = "s3://, gs://, hdfs://, http:// and https://"
"""The schemes that can be read, for messages."""


def display_width(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes: two for a wide character, none for
    a mark that sits on the letter before it.
    """
    if text.isascii():
        return len(text)
    width = 0
    for character in text:
        if unicodedata.category(character) in ("Mn", "Me", "Cf"):
            continue
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return width


def wrapped(text: str, columns: int) -> str:
    """Return text whose sentences are broken between words where they are longer than a line.

    Lines of tables, which have runs of spaces, stay as they are.
    """
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        if display_width(line) > columns and "  " not in line.lstrip():
            parts = textwrap.wrap(
                line,
                columns,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
            lines += parts
        else:
            lines.append(line)
    return "\n".join(lines)


def fitted_to(text: str, columns: int) -> str:
    """Return ``text`` cut to so many columns of a terminal, with "..." where something is cut."""
    if display_width(text) <= columns:
        return text
    shown, room = "", max(0, columns - 3)
    for character in text:
        if display_width(shown + character) > room:
            break
        shown += character
    return (shown + "...")[: max(0, columns)]


def printable(text: str) -> str:
    """Return ``text`` with control characters escaped, so that it stays on its line."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) in ("Zs", "Cs", "Cf")
        else repr(character)[1:-1]
        for character in text
    )


def harmless(text: str) -> str:
    """Return ``text`` with control characters escaped, line breaks and tabs excepted."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, "1 image" or "2 images"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def byte_size(count: float) -> str:
    """Return a number of bytes with its unit: 0 bytes, 1 byte, 1.5 KB."""
    if count < 1000:
        return counted(round(count), "byte")
    for unit in ("KB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def has_scheme(text: str) -> bool:
    """Return whether text is a URL, also one that lost a slash as a path."""
    return _URL.match(text) is not None


def url_of_path(path: PurePath) -> str:
    """Return a URL with the slash that it lost as a path."""
    scheme, _, rest = path.as_posix().partition(":")
    return f"{scheme}://{rest.lstrip('/')}"


def is_readable_url(text: str) -> bool:
    """Return whether text is a URL of something that can be read, with one slash or two."""
    return _READABLE.match(text) is not None


def redacted(text: str) -> str:
    """Return text with its URLs as people may see them.

    User names, passwords and queries are replaced, as the query of a signed URL is a credential.
    A slash that a `Path` lost is restored.
    """
    if ":/" not in text:
        return text
    return _QUERY.sub(r"\1?...", _USER.sub(r"\1***@", _ONE_SLASH.sub(r"\1://", text)))


def joined(names: Sequence[str]) -> str:
    """Return names as a sentence lists them: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def table(rows: Sequence[Sequence[str]], right: Sequence[int] | None = None) -> list[str]:
    """Return one line a row, its columns aligned and two spaces apart.

    Args:
        rows: of equal length, the headings first; control characters are escaped.
        right: columns that are set to the right; None: all but the first.
    """
    if not rows:
        return []
    cells = [[printable(cell) for cell in row] for row in rows]
    count = len(cells[0])
    to_the_right = set(range(1, count) if right is None else right)
    widths = [max(display_width(row[column]) for row in cells) for column in range(count)]
    lines = []
    for row in cells:
        parts = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - display_width(cell))
            parts.append(gap + cell if column in to_the_right else cell + gap)
        lines.append("  ".join(parts).rstrip())
    return lines
