"""How Sphinx builds this site: `make docs`, where every warning is an error."""

import os
import re
import sys
from html import escape
from pathlib import Path
from posixpath import dirname, join, normpath
from runpy import run_path
from typing import Any

from sphinx.util import logging

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/ORG/mcm-provider-template"
SITE = "https://ORG.github.io/mcm-provider-template"
sys.path.insert(0, str(ROOT / "template"))  # where autodoc finds the framework

project = "mcm-provider-template"
release = run_path(str(ROOT / "template/cmi/version.py"))["VERSION"]
# The folder that this build is served from: scripts/site.py says which of several versions it is.
version_folder = os.environ.get("SITE_VERSION", "latest")
extensions = [
    "myst_parser",
    "notfound.extension",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_sitemap",
    "sphinxext.opengraph",
]
templates_path = ["_templates"]

# Furo uses the fonts of the system, and fetches nothing.
html_theme = "furo"
html_title = f"{project} {release}"
html_baseurl = f"{SITE}/{version_folder}/"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("versions.js", {"defer": "defer"})]
html_favicon = "_static/favicon.svg"
html_show_sphinx = False
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "footer_icons": [{"name": "Repository", "url": REPOSITORY, "html": "Repository", "class": ""}],
}
html_context = {"version_folder": version_folder}
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/version.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}

sitemap_url_scheme = "{link}"
sitemap_show_lastmod = False
notfound_urls_prefix = f"/{SITE.rpartition('/')[2]}/{version_folder}/"
ogp_site_url = html_baseurl
ogp_site_name = project
ogp_image = f"{html_baseurl}_static/social-card.png"
ogp_image_alt = "A driver for any cloud, in Python"
ogp_enable_meta_description = True
ogp_social_cards = {"enable": False}

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

default_role = "code"  # docstrings are written with single backticks
autodoc_mock_imports = ["pytest"]  # the conformance kit runs in it
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

_TITLE = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"^!\[(?P<text>[^\]]+)\]\((?P<file>[^)]+\.svg)\)$", re.MULTILINE)
_DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{(?P<rules>.*)\}\s*\Z", re.DOTALL)
_STYLE = re.compile(r"<style>(?P<rules>.*?)</style>", re.DOTALL)
# Names within a picture, which another picture on the page has too.
_NAMES = re.compile(r' aria-labelledby="[^"]*"| id="(title|description|(graph|node|edge)\d+)"')
_LINK_OUT = re.compile(r"\]\((\.\./[^)\s]+)\)")


def for_sphinx(page: str, text: str) -> str:
    """Return the text of a page as MyST understands it.

    On the pages, which are read on GitHub too, a block of code names its file in `title`, and
    links lead to any file of the repository.
    """
    text = _PICTURE.sub(lambda found: _picture(page, found), text)
    text = _TITLE.sub(r"```{code-block} \1\n:caption: \2\n\n\3```", text)
    return _LINK_OUT.sub(lambda link: f"]({_target(page, link[1])})", text)


def _picture(page: str, found: re.Match[str]) -> str:
    """Return a picture as part of the page, where it follows the reader's choice of light or dark.

    As a file of its own, it can only follow the browser's.
    """
    path = ROOT / "docs" / dirname(page) / found["file"]
    if not path.exists():
        return found[0]  # Sphinx warns of it
    svg = _STYLE.sub(lambda style: f"<style>{_scoped(style['rules'])}</style>", path.read_text())
    svg = _NAMES.sub("", svg)
    svg = svg.replace("<svg ", f'<svg aria-label="{escape(found["text"])}" ', 1)
    return f'```{{raw}} html\n<figure class="picture">\n{svg}</figure>\n```'


def _scoped(rules: str) -> str:
    """Return the style of a picture for a page: for no other element, and for each theme."""
    dark = _DARK.search(rules)
    if dark is None:
        return f"figure.picture {{{rules}}}"
    return (
        f"figure.picture {{{rules[: dark.start()]}}}"
        f"body[data-theme=dark] figure.picture {{{dark['rules']}}}"
        "@media (prefers-color-scheme: dark) "
        f"{{body:not([data-theme=light]) figure.picture {{{dark['rules']}}}}}"
    )


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
