"""Results as notebooks show them: HTML that needs nothing else, plots and data frames.

Colours are those of the page around it, so that light and dark themes both fit; styles are
inline, since some viewers remove everything else.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tlcli.errors import OutputError
from tlcli.text import printable

if TYPE_CHECKING:
    from PIL import Image

ROWS_SHOWN = 20
"""Rows of a table; the result itself has the others."""

# The names of more labels than this cannot be read at the axes of a plot.
_NAMED_LABELS = 40
# Numbers in the cells of a confusion matrix are legible up to here.
_WRITTEN_LABELS = 20
# Fonts with Chinese, Japanese and Korean characters, as systems have them.
_MORE_SCRIPTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK SC", "Hiragino Sans", "Yu Gothic"),
    *("Apple SD Gothic Neo", "AppleGothic", "Malgun Gothic", "NanumGothic", "Microsoft YaHei"),
    *("PingFang SC", "WenQuanYi Zen Hei", "IPAexGothic", "Arial Unicode MS"),
)
_CELL = "padding:2px 8px;text-align:{};border:0;background:{}"
_BLUE = "rgba(64,128,224,{:.2f})"


def percent(value: float | None) -> str:
    """Return a fraction as "91.2%", and None as "-"."""
    return "-" if value is None else f"{value:.1%}"


def block(
    title: str,
    rows: Sequence[Sequence[object]] = (),
    head: Sequence[str] = (),
    end: str = "",
) -> str:
    """Return a title above a table as HTML.

    Args:
        title: one line.
        rows: of the table; numbers and per cent are set to the right. All text is escaped.
        head: the names of the columns.
        end: HTML that follows the table.
    """
    bold = "font-weight:600;margin:4px 0"
    lines = [f"<div style='overflow-x:auto'><div style='{bold}'>{_text(title)}</div>"]
    if rows:
        lines.append("<table style='border-collapse:collapse;margin:4px 0'>")
        if head:
            cells = (
                f"<th style='{_style(rows[0][i])}'>{_text(h)}</th>" for i, h in enumerate(head)
            )
            lines.append(f"<thead><tr>{''.join(cells)}</tr></thead>")
        body = (
            "<tr>" + "".join(f"<td style='{_style(v)}'>{_text(v)}</td>" for v in row) + "</tr>"
            for row in rows
        )
        lines += ["<tbody>", *body, "</tbody></table>"]
    return "".join([*lines, end, "</div>"])


def confusion_html(labels: Sequence[str], cells: Iterable[tuple[int, int, int]]) -> str:
    """Return a confusion matrix as a shaded table; "" where it is empty or too large to read.

    Args:
        labels: in output order.
        cells: (true label, predicted label, count) of each count above zero.
    """
    counts = {(row, column): count for row, column, count in cells}
    if not counts or len(labels) > _WRITTEN_LABELS:
        return ""
    head = "".join(f"<th style='{_style(0)}'>{_text(label)}</th>" for label in labels)
    lines = [
        "<table style='border-collapse:collapse;margin:4px 0'><thead><tr>",
        f"<th style='{_style('')}'>true label / predicted</th>{head}</tr></thead><tbody>",
    ]
    for row, label in enumerate(labels):
        found = [counts.get((row, column), 0) for column in range(len(labels))]
        shades = [_BLUE.format(0.5 * count / max(sum(found), 1)) for count in found]
        shaded = (
            f"<td style='{_CELL.format('right', shade)}'>{count}</td>"
            for count, shade in zip(found, shades, strict=True)
        )
        lines.append(f"<tr><th style='{_style('')}'>{_text(label)}</th>{''.join(shaded)}</tr>")
    return "".join([*lines, "</tbody></table>"])


def picture_html(image: Image.Image, description: str) -> str:
    """Return a picture as HTML that contains it."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"<img alt='{_text(description)}' src='data:image/jpeg;base64,{content}'>"


def data_frame(columns: Mapping[str, Sequence[Any]], index: Sequence[Any] | None = None) -> Any:
    """Return a pandas.DataFrame of columns of one length.

    Raises:
        OutputError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise OutputError("to_frame needs the package pandas: pip install pandas") from error
    return pandas.DataFrame(dict(columns), index=index)


def new_figure(width: float, height: float) -> Any:
    """Return an empty matplotlib.figure.Figure of a size in inches, which notebooks show.

    It belongs to no window: pyplot is not imported and does not keep it.

    Raises:
        OutputError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OutputError("plot needs the package matplotlib: pip install 'tlcli[plot]'") from error

    # A class statement would need the types of a package that may be absent.
    figure_type = type("NotebookFigure", (Figure,), {"_repr_png_": _png})
    return figure_type(figsize=(width, height), layout="constrained")


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def draw_confusion(axes: Any, matrix: Any, labels: Sequence[str]) -> None:
    """Draw counts [L, L], rows by true label, each row shaded by its proportions."""
    totals = matrix.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(matrix / totals, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted label", ylabel="true label", title="confusion matrix")
    if len(labels) <= _NAMED_LABELS:
        names, family = [printable(label) for label in labels], _font_families()
        angle = 90 if len(labels) > 4 else 0
        axes.set_xticks(range(len(labels)), names, rotation=angle, fontfamily=family)
        axes.set_yticks(range(len(labels)), names, fontfamily=family)
    if len(labels) <= _WRITTEN_LABELS:
        for (row, column), count in _cells(matrix):
            dark = matrix[row, column] * 2 > totals[row, 0]
            colour = "white" if dark else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)


def draw_curves(axes: Any, curves: Mapping[str, Any], what: str) -> None:
    """Draw the curves of some splits: ``what`` is "accuracy" or "cross_entropy"."""
    for split, curve in curves.items():
        axes.plot(curve.steps, getattr(curve, what), label=split)
    axes.set(xlabel="step", title=what.replace("_", " "))
    axes.legend()


def _font_families() -> list[str]:
    """Return matplotlib's own font, and those of this machine that have more scripts."""
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    return ["DejaVu Sans", *(name for name in _MORE_SCRIPTS if name in installed)]


def _cells(matrix: Any) -> list[tuple[tuple[int, int], int]]:
    height, width = matrix.shape
    return [((i, j), int(matrix[i, j])) for i in range(height) for j in range(width)]


def _style(value: object) -> str:
    is_number = isinstance(value, (int, float)) or str(value).endswith("%")
    return _CELL.format("right" if is_number else "left", "none")


def _text(value: object) -> str:
    return escape(printable(str(value)), quote=True)
