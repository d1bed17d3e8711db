"""`make diagrams`: draw the diagrams of the documentation, as SVG.

A diagram has a background of its own, so that it can be read on GitHub and on the site, in light
and in dark mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape

from dev.environments import ROOT
from dev.terminal import say

FOLDER = ROOT / "docs" / "images"

INK, QUIET, PAPER = "#1f2933", "#616e7c", "#ffffff"
#: Who a box belongs to → its fill and its edge.
AIRFLOW, PROVIDER, SERVICE, TROUBLE = (
    ("#e3f2fd", "#1976d2"),
    ("#e8eaf6", "#3f51b5"),
    ("#e8f5e9", "#388e3c"),
    ("#ffebee", "#d32f2f"),
)


class Drawing:
    """A picture to which boxes, arrows and texts are added; coordinates are pixels from the top left.

    :param title: what a screen reader calls it.
    :param meaning: what a screen reader says of it.
    """

    def __init__(self, width: int, height: int, title: str, meaning: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" font-family="system-ui, Helvetica, Arial, sans-serif">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(meaning)}</desc>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{INK}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>',
        ]

    def text(
        self, x: float, y: float, words: str, *, size: int = 14, bold: bool = False, **style: str
    ) -> None:
        """Add one line, centred on ``x`` unless ``anchor`` says otherwise."""
        anchor, colour = style.get("anchor", "middle"), style.get("colour", INK)
        weight = ' font-weight="600"' if bold else ""
        # What lies behind the words, such as a line, keeps a distance from them.
        behind = style.get("behind", "none")
        self.parts.append(
            f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'stroke="{behind}" stroke-width="5" paint-order="stroke"{weight}>{escape(words)}</text>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        owner: tuple[str, str],
        lines: Iterable[str] = (),
    ) -> None:
        """Add a box with a bold line and quiet lines, or an empty one."""
        fill, edge = owner
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{edge}"/>'
        )
        lines = list(lines)
        top = y + height / 2 + 5 - 9 * (len(lines) - 1)
        for number, line in enumerate(lines):
            is_head = number == 0
            self.text(
                x + width / 2,
                top + 18 * number,
                line,
                size=14 if is_head else 12,
                bold=is_head,
                colour=INK if is_head else QUIET,
            )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, *, dashed: bool = False, arrow: bool = True
    ) -> None:
        """Add an arrow, or a line."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        head = ' marker-end="url(#head)"' if arrow else ""
        colour = INK if arrow else QUIET
        self.parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="1.4"'
            f"{dash}{head}/>"
        )

    def svg(self) -> str:
        """Return the picture."""
        return "\n".join([*self.parts, "</svg>", ""])


def one_poll_loop() -> str:
    """Return the picture of the shared poller."""
    picture = Drawing(
        880,
        350,
        "One poll loop",
        "In a triggerer, a thousand waits join one shared poller. It sends one request a cycle to the "
        "service, and gives each wait the results of its tasks.",
    )
    picture.box(20, 20, 560, 310, ("#fafafa", AIRFLOW[1]))
    picture.text(36, 44, "Triggerer", bold=True, anchor="start")
    for number, (name, ids) in enumerate(
        [("Wait 1", "for task a"), ("Wait 2", "for tasks b, c, d"), ("…", ""), ("Wait 1,000", "for task z")]
    ):
        top = 64 + 64 * number
        picture.box(44, top, 150, 48, AIRFLOW, [name, *([ids] if ids else [])])
        picture.line(194, top + 18, 368, 172 + 8 * number)
        picture.line(368, 180 + 8 * number, 198, top + 32, dashed=True)
    picture.text(284, 72, "join: “these ids, every 30 s”", size=12, colour=QUIET)
    picture.text(284, 316, "each wait gets its own results", size=12, colour=QUIET)
    poller = ["Shared poller", "one client", "one rate limiter", "the cheapest plan"]
    picture.box(370, 136, 186, 100, PROVIDER, poller)
    picture.box(720, 136, 140, 100, SERVICE, ["Manus", "GET /v1/tasks", "up to 1,000 a page"])
    picture.line(556, 170, 716, 170)
    picture.line(720, 206, 560, 206, dashed=True)
    picture.text(650, 160, "one request a cycle", size=12, colour=QUIET)
    picture.text(650, 226, "page by page", size=12, colour=QUIET)
    return picture.svg()


def paid_once() -> str:
    """Return the picture of a submission whose worker dies."""
    picture = Drawing(
        880,
        470,
        "Paid once",
        "The first attempt records its intent, and submits the task with a correlation tag. Its worker dies "
        "before the answer arrives. The second attempt finds the intent, looks for the tag, finds the task, "
        "and waits for it.",
    )
    first, store, manus, second = 110, 330, 550, 770
    for x, owner, lines in (
        (first, AIRFLOW, ["Attempt 1", "on a worker"]),
        (store, AIRFLOW, ["Airflow", "task state store"]),
        (manus, SERVICE, ["Manus"]),
        (second, AIRFLOW, ["Attempt 2", "on another worker"]),
    ):
        picture.line(x, 70, x, 245 if x == first else 450, dashed=True, arrow=False)
        picture.box(x - 80, 20, 160, 50, owner, lines)

    def step(y: float, begin: float, end: float, words: str, *, dashed: bool = False) -> None:
        picture.line(begin, y, end, y, dashed=dashed)
        picture.text((begin + end) / 2, y - 7, words, size=12, behind=PAPER)

    step(110, first, store, "1. “I am about to submit”")
    step(155, first, manus, "2. POST, with the correlation tag in the title")
    picture.line(manus, 200, 240, 200, dashed=True)
    picture.text(400, 193, "3. the id of the task", size=12, behind=PAPER)
    picture.text(226, 206, "✕", size=20, bold=True, colour=TROUBLE[1])
    picture.box(first - 80, 220, 160, 40, TROUBLE, ["The worker dies"])
    step(300, store, second, "4. an intent, and no id")
    step(345, second, manus, "5. which task has the tag?")
    step(390, manus, second, "6. this one", dashed=True)
    picture.box(manus + 60, 412, 250, 38, PROVIDER, ["Re-attaches: no second POST"])
    return picture.svg()


DIAGRAMS: dict[str, Callable[[], str]] = {"one-poll-loop.svg": one_poll_loop, "paid-once.svg": paid_once}


def main() -> None:
    """Write all diagrams."""
    for name, draw in DIAGRAMS.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
        say(f"docs/images/{name}")


if __name__ == "__main__":
    main()
