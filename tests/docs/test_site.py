"""The site builds without warnings, and a reader's browser loads nothing from other sites."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT, link

REMOTE = re.compile(
    r"<(?:script|link(?! rel=\"canonical\")|img|iframe)\b"
    r"[^>]*\b(?:src|href)=\"(?:https?:)?//[^>]*>"
)


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "docs", f"SITE={site}"], cwd=root, capture_output=True, text=True, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the site's sources, which a test may change."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "CHANGELOG.md", folder)  # MyST checks where links lead
    link(ROOT, folder, "docs", "CHANGELOG.md")
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
    check_what_others_read(site)
    check_pictures(site)


def check_what_others_read(site: Path) -> None:
    """Check what search engines, messengers, and readers who follow a dead link get."""
    page = (site / "how-to/scope.html").read_text()
    address = "https://ORG.github.io/mcm-provider-template/latest"
    assert f'rel="canonical" href="{address}/how-to/scope.html"' in page
    assert f'property="og:image" content="{address}/_static/social-card.png"' in page
    assert (site / "_static/social-card.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r'<meta name="description" content="[^"]{40,}', page)
    assert 'mcm-provider-template/edit/main/docs/how-to/scope.md"' in page
    assert f"<loc>{address}/how-to/scope.html</loc>" in (site / "sitemap.xml").read_text()
    assert "/mcm-provider-template/latest/_static/" in (site / "404.html").read_text()


def check_pictures(site: Path) -> None:
    """Check that pictures follow the light or dark mode, and that their CSS affects only them."""
    for name in ("explanation/architecture", "explanation/machine-life", "index"):
        page = (site / f"{name}.html").read_text()
        pictures = re.findall(r'<figure class="picture">.*?</figure>', page, re.DOTALL)
        assert pictures, name
        for style in re.findall(r"<style>(.*?)</style>", "".join(pictures), re.DOTALL):
            assert style.startswith("figure.picture {")
            if name != "index":
                assert "body[data-theme=dark] figure.picture {" in style
                assert "body:not([data-theme=light]) figure.picture {" in style


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
