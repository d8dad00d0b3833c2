"""`make pictures`: converts the sources of the documentation's pictures to SVG.

The SVGs are committed, so that GitHub shows them too, and building the site does not require
Graphviz. Each contains the digest of its source, which a test checks.
"""

import re
import shutil
import subprocess
import sys
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "docs/pictures"
STYLE: Final = FOLDER / "style.css"

_DESCRIPTION: Final = re.compile(r'^  desc="(?P<text>.*)"$', re.MULTILINE)
_SIZE: Final = re.compile(r'<svg width="(?P<width>\d+)pt" height="(?P<height>\d+)pt"')
# Colours come from the style sheet, because attributes from Graphviz have no dark variant.
_COLOURS: Final = re.compile(r' (fill|stroke|font-family)="[^"]*"')


def main() -> None:
    """Draw all pictures again."""
    if shutil.which("dot") is None:
        sys.exit("error: Graphviz is not installed; run apt-get install graphviz")
    for source in sorted(FOLDER.glob("*.dot")):
        picture(source).write_text(draw(source))


def picture(source: Path) -> Path:
    """Return the path of a source's SVG."""
    return source.with_suffix(".svg")


def digest(source: Path) -> str:
    """Return the digest of a source and of the style."""
    return sha256(source.read_bytes() + STYLE.read_bytes()).hexdigest()


def draw(source: Path) -> str:
    """Return the SVG of a source.

    Raises:
        subprocess.CalledProcessError: Graphviz can't read it.
        ValueError: It has no description for those who can't see it.
    """
    description = _DESCRIPTION.search(source.read_text())
    if description is None:
        raise ValueError(f"{source.name} has no line with desc=…")
    drawn = subprocess.run(
        ["dot", "-Tsvg", source], check=True, capture_output=True, text=True
    ).stdout
    svg = _COLOURS.sub("", drawn[drawn.index("<svg") :])
    svg = re.sub(r"<!--.*?-->\n", "", svg, flags=re.DOTALL)
    # The names of nodes would appear as tooltips.
    svg = re.sub(r"<title>.*?</title>\n", "", svg)
    svg = _SIZE.sub(r'<svg role="img" width="\g<width>" height="\g<height>"', svg, count=1)
    opening = svg.index(">") + 1
    return "".join(
        (
            f"{svg[:opening]}\n<!-- make pictures, from {digest(source)} -->\n",
            f"<title>{escape(source.stem.replace('-', ' '))}</title>\n",
            f"<desc>{escape(description['text'])}</desc>\n",
            f"<style>\n{STYLE.read_text()}</style>",
            svg[opening:],
        )
    )


if __name__ == "__main__":
    main()
