"""How Sphinx builds this site: `make docs`, where every warning is an error."""

import re
import sys
from pathlib import Path
from posixpath import dirname, join, normpath
from runpy import run_path
from typing import Any

from sphinx.util import logging

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/ORG/mcm-provider-template"
sys.path.insert(0, str(ROOT / "template"))  # where autodoc finds the framework

project = "mcm-provider-template"
release = run_path(str(ROOT / "template/cmi/version.py"))["VERSION"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]

# Furo uses the fonts of the system, and fetches nothing.
html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sphinx = False
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False

myst_heading_anchors = 3

default_role = "code"  # docstrings are written with single backticks
autodoc_mock_imports = ["pytest"]  # the conformance kit runs in it
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

_TITLE = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_LINK_OUT = re.compile(r"\]\((\.\./[^)\s]+)\)")


def for_sphinx(page: str, text: str) -> str:
    """Return the text of a page as MyST understands it.

    On the pages, which are read on GitHub too, a block of code names its file in `title`, and
    links lead to any file of the repository.
    """
    text = _TITLE.sub(r"```{code-block} \1\n:caption: \2\n\n\3```", text)
    return _LINK_OUT.sub(lambda link: f"]({_target(page, link[1])})", text)


def _target(page: str, link: str) -> str:
    """Return where a link leads on the site."""
    path = normpath(join("docs", dirname(page), link))
    if path.startswith("docs/"):
        return link
    if not (ROOT / path).exists():
        log.warning("there is no file %s in the repository", path, location=page)
    return f"{REPOSITORY}/blob/main/{path}"


def setup(app: Any) -> None:
    """Tell Sphinx what is ours."""

    def read(_app: object, page: str, source: list[str]) -> None:
        source[0] = for_sphinx(page, source[0])

    def process(_app: object, what: str, *rest: Any) -> None:
        if what in ("attribute", "data", "property"):
            # napoleon takes what stands before a colon in the first line for a type.
            # So the first line is a comment.
            rest[-1][:0] = ["..", ""]

    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", process, priority=0)
