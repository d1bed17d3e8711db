"""Measured figures as a table: ours, the other provider's, the ratio, and whether a target is met."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import quantiles

HEAD = ("Figure", "ours", "http provider", "ours / http", "target", "met")
NOT_MEASURED = "-"


@dataclass(frozen=True)
class Row:
    """One figure.

    :param target: the target, as text.
    :param met: whether it is met; ``None`` without a target.
    """

    what: str
    ours: str
    other: str = NOT_MEASURED
    ratio: str = ""
    target: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the cells in the order of the table's head."""
        verdict = {None: "", True: "met", False: "NOT MET"}[self.met]
        return (self.what, self.ours, self.other, self.ratio, self.target, verdict)


@dataclass
class Section:
    """A part of the benchmark: its rows, and notes on how to read them."""

    title: str
    other: str = "http provider"
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def compare(
        self,
        what: str,
        ours: float,
        other: float | None,
        show: Callable[[float], str],
        *,
        at_most: float | None = None,
    ) -> None:
        """Add a figure of both.

        :param at_most: the target of the ratio.
        """
        ratio = None if other is None or other <= 0 else ours / other
        self.rows.append(
            Row(
                what,
                show(ours),
                NOT_MEASURED if other is None else show(other),
                "" if ratio is None else show_ratio(ratio),
                "" if at_most is None else f"≤ {show_ratio(at_most)}",
                None if at_most is None or ratio is None else ratio <= at_most,
            )
        )

    def limit(
        self,
        what: str,
        ours: float,
        other: float | None,
        show: Callable[[float], str],
        *,
        at_most: float | None,
    ) -> None:
        """Add a figure of both; the target limits our figure instead of the ratio."""
        self.compare(what, ours, other, show)
        row = self.rows.pop()
        target = "" if at_most is None else f"≤ {show(at_most)}"
        met = None if at_most is None else ours <= at_most
        self.rows.append(Row(row.what, row.ours, row.other, row.ratio, target, met))

    @property
    def missed(self) -> list[Row]:
        """The rows whose target was not met."""
        return [row for row in self.rows if row.met is False]

    def markdown(self) -> str:
        """Return the section as Markdown, with aligned tables that read well as plain text."""
        head = tuple(self.other if cell == "http provider" else cell for cell in HEAD)
        head = tuple(cell.replace("ours / http", "ratio") for cell in head)
        table = [head, *(row.cells() for row in self.rows)]
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        lines = [_line(head, widths), _line(["-" * width for width in widths], widths)]
        lines += [_line(line, widths) for line in table[1:]]
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"### {self.title}", "", *lines, *([""] if notes else []), *notes])


def _line(cells: Sequence[str], widths: Iterable[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def show_ratio(ratio: float) -> str:
    """Return a ratio in its usual form: ``1/120`` or ``1.3``."""
    return f"1/{1 / ratio:.0f}" if 0 < ratio < 0.5 else f"{ratio:.2f}"


def count(number: float) -> str:
    return f"{number:,.0f}"


def seconds(number: float) -> str:
    return f"{number:.2f} s" if number < 100 else f"{number:.0f} s"


def milliseconds(number: float) -> str:
    """Show seconds as milliseconds."""
    return f"{number * 1000:.2f} ms" if number < 0.01 else f"{number * 1000:,.0f} ms"


def kilobytes(number: float) -> str:
    return f"{number / 1000:,.1f} kB"


def megabytes(number: float) -> str:
    return f"{number / 1e6:,.1f} MB"


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the 50th and the 95th percentile."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (float("nan"), float("nan"))
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[94]
