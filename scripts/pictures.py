"""`make pictures`: the pictures of the documentation, from what they are drawn in to SVG.

The SVGs are committed, so that the pages have them on GitHub too, and a build of the site needs no
Graphviz. Each names the digest of its source; a test compares the two.
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
# What the style sheet decides, Graphviz must not: an attribute of its own has no dark form.
_COLOURS: Final = re.compile(r' (fill|stroke|font-family)="[^"]*"')


def main() -> None:
    """Draw all pictures again."""
    if shutil.which("dot") is None:
        sys.exit("error: Graphviz is not there; install it: apt-get install graphviz")
    for source in sorted(FOLDER.glob("*.dot")):
        picture(source).write_text(draw(source))


def picture(source: Path) -> Path:
    """Return where the SVG of a source is."""
    return source.with_suffix(".svg")


def digest(source: Path) -> str:
    """Return what an SVG is recognised by: a digest of its source and of the style."""
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
    # Names of nodes would show as tooltips.
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
