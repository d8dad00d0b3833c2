"""The site: it is built strictly, and a reader's browser fetches nothing from elsewhere."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT, link

REMOTE = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^>]*>")


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "docs", f"SITE={site}"], cwd=root, capture_output=True, text=True, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the site is made of, to be changed."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "docs", folder / "docs")
    link(ROOT, folder, "docs")
    return folder


def test_it_is_built(checkout: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    result = build(checkout, site)
    assert result.returncode == 0, result.stderr
    pages = list(site.rglob("*.html"))
    assert {path.stem for path in checkout.glob("docs/*/*.md")} <= {page.stem for page in pages}
    for page in pages:
        assert not REMOTE.findall(page.read_text()), page
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", style.read_text()), style


BROKEN = {
    "[a page](no-such-page.md)",
    "[a heading](questions.md#no-such-heading)",
    "[a file](../../no-such-file.md)",
    "![a picture](no-such-picture.svg)",
}


def test_a_broken_link_is_an_error(checkout: Path, tmp_path: Path) -> None:
    page = checkout / "docs/reference/files.md"
    page.write_text("\n\n".join([page.read_text(), *BROKEN]))
    result = build(checkout, tmp_path / "site")
    assert result.returncode != 0
    missed = {link for link in BROKEN if re.findall(r"no-such-\w+", link)[0] not in result.stderr}
    assert not missed, result.stderr
