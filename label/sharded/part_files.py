"""The content of part files: predictions as JSON lines or as Parquet, the same bytes everywhere."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from label.formats import FORMATS, OutputStyle
from tlcli.core.classifier.outputs import Prediction, Score
from tlcli.core.parts.part_file import import_pyarrow

PART_FORMATS = ("jsonl", "parquet")
"""The formats of parts; each is also the suffix of the file."""


def check_format(name: str) -> None:
    """Refuse to go on without what writes a format.

    Raises:
        CacheError: pyarrow is missing.
    """
    if name == "parquet":
        import_pyarrow()


def part_content(predictions: Sequence[Prediction], style: OutputStyle) -> bytes:
    """Return the content of a part with a row for each prediction.

    Args:
        predictions: with the labels that are to be written.
        style: "jsonl", which has the lines that the command prints, or "parquet".
    """
    if style.format == "parquet":
        return _parquet(predictions, style)
    stream = io.StringIO()
    writer = FORMATS[style.format](stream, style, single=False)
    for prediction in predictions:
        writer.write(prediction)
    writer.close()
    return stream.getvalue().encode("utf-8")


def _parquet(predictions: Sequence[Prediction], style: OutputStyle) -> bytes:
    pyarrow = import_pyarrow()
    score = pyarrow.struct([("label", pyarrow.string()), ("score", pyarrow.float64())])
    rows = {
        "image": ([_text(each.image) for each in predictions], pyarrow.string()),
        "predictions": (
            [None if each.error is not None else _scores(each) for each in predictions],
            pyarrow.list_(score),
        ),
        "best": ([_score(each.unsure) for each in predictions], score),
        **_unknown(predictions, style, pyarrow),
        "error": ([each.error and _text(each.error) for each in predictions], pyarrow.string()),
    }
    table = pyarrow.table({name: pyarrow.array(*column) for name, column in rows.items()})
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, compression="ZSTD", write_page_checksum=True)
    return sink.getvalue()


def _unknown(
    predictions: Sequence[Prediction], style: OutputStyle, pyarrow: Any
) -> dict[str, tuple[list[Any], Any]]:
    """Return the column of unknown images; none where it is not asked for."""
    if not style.unknown:
        return {}
    numbers = [(name, pyarrow.float64()) for name in ("score", "threshold")]
    kind = pyarrow.struct([*numbers, ("nearest", pyarrow.string())])
    values = [None if each.unknown is None else each.unknown.to_dict() for each in predictions]
    for value in values:
        if value is not None and value["nearest"] is not None:
            value["nearest"] = _text(value["nearest"])
    return {"unknown": (values, kind)}


def _scores(prediction: Prediction) -> list[Any]:
    return [_score(each) for each in prediction.scores]


def _score(score: Score | None) -> dict[str, Any] | None:
    return None if score is None else {"label": score.label, "score": score.score}


def _text(text: str) -> str:
    # A file name that is not UTF-8: escaped, as in a log.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
