"""`make pictures`: shows the demo's output as a picture of a terminal on the landing page.

It reads the output of `make demo`, and keeps the part about machines.
"""

import sys
from html import escape
from pathlib import Path
from typing import Final

PICTURE: Final = Path(__file__).parents[1] / "docs/pictures/demo.svg"
BEGIN: Final = "Create three machines"
END: Final = "The driver is stopped"
LINE: Final = 19
MARGIN: Final = 18
WIDTH: Final = 560
STYLE: Final = """text { font: 13px ui-monospace, "DejaVu Sans Mono", monospace }
text { fill: #d6dee8; white-space: pre }
.paper { fill: #14181e } .title { fill: #8fa1b6 } .command { fill: #7fd18f }"""


def main() -> None:
    """Write the picture from the demo's output on standard input."""
    lines = [line.rstrip() for line in sys.stdin]
    end = next(number for number, line in enumerate(lines) if line.startswith(END))
    PICTURE.write_text(draw(lines[lines.index(BEGIN) : end - 1]))


def draw(lines: list[str]) -> str:
    """Return the picture of the lines, with descriptions in grey and commands in green."""
    height = 2 * MARGIN + LINE * len(lines)
    size = f'width="{WIDTH}" height="{height}"'
    texts = []
    for number, (line, following) in enumerate(zip(lines, [*lines[1:], ""], strict=True)):
        kind = "title" if following.startswith("$ ") else "command" if line[:1] == "$" else "output"
        y = MARGIN + LINE * number + 14
        texts.append(f'<text class="{kind}" x="{MARGIN}" y="{y}">{escape(line)}</text>')
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}',
            f'  viewBox="0 0 {WIDTH} {height}">',
            f"<style>\n{STYLE}\n</style>",
            f'<rect class="paper" {size} rx="10"/>',
            *texts,
            "</svg>\n",
        )
    )


if __name__ == "__main__":
    main()
