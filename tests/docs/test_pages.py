"""All pages and the README: links, commands, samples, and texts generated from the code."""

import html
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cmi.conformance
import cmi.testing
from scripts.pictures import FOLDER as PICTURES
from scripts.pictures import digest, picture
from tests.docs.pages import FOLLOWED, PAGES, Block, blocks
from tests.support import ROOT

LANGUAGES = {"", "sh", "text", "python", "yaml", "promql"}
ELSEWHERE = {
    "docs/tutorials/add-a-provider.md": "tests/examples/test_tutorial.py",
    "docs/how-to/grow-a-driver.md": "tests/examples/test_tutorial.py",
    "docs/reference/older-mcm.md": "e2e/test_older_mcm.py",
    "docs/how-to/operate.md": "e2e/test_pages.py",
    "docs/how-to/several-clusters.md": "e2e/test_pages.py",
}
"""Pages that another test follows as a whole, with the file of that test."""

NOT_FOLLOWED = {
    ("docs/tutorials/kind.md", "A cluster on your machine with kind"): "needs docker; it says so",
    ("docs/how-to/troubleshooting.md", "Where to look first"): "needs a cluster: e2e/test_pages.py",
    ("docs/how-to/tracing.md", "Trace calls with OpenTelemetry"): "installs from the network",
    ("docs/how-to/troubleshooting.md", "Make a call yourself"): "needs a kubelet, and grpcurl",
}
"""Commands that no test in this folder runs, with the reason."""

LINK = re.compile(r"\]\((?!https?://)(?P<file>[^)#]*)(?:#(?P<heading>[^)]+))?\)")

SAMPLES = [
    pytest.param(page, block, id=f"{page}: {block.title}")
    for page in PAGES
    if page not in ELSEWHERE
    for block in blocks(page)
    if block.title and "/" in block.title
]


@pytest.mark.parametrize("page", PAGES)
def test_all_commands_are_followed(page: str) -> None:
    for path in (ROOT / "tests/docs").glob("test_*.py"):
        importlib.import_module(f"tests.docs.{path.stem}")
    if page in ELSEWHERE:
        assert page in (ROOT / ELSEWHERE[page]).read_text()
        return
    text = (ROOT / page).read_text()
    assert text.count("```sh\n") == len(blocks(page, "sh")), "a block is not closed"
    for block in blocks(page, "sh"):
        assert (page, block.heading) in FOLLOWED | NOT_FOLLOWED.keys(), block


@pytest.mark.parametrize("page", PAGES)
def test_languages(page: str) -> None:
    """The test above would not find commands in a block of another language."""
    assert {block.language for block in blocks(page)} <= LANGUAGES


@pytest.mark.parametrize(("page", "block"), SAMPLES)
def test_a_sample_is_part_of_its_file(page: str, block: Block, installed: Path) -> None:
    assert block.text in (installed / block.title).read_text(), page


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    """This checks the links on GitHub. `make docs` checks those on the site."""
    folder = (ROOT / page).parent
    for link in LINK.finditer((ROOT / page).read_text()):
        target = folder / link["file"] if link["file"] else ROOT / page
        assert target.exists(), link[0]
        if link["heading"]:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert link["heading"] in {slug(heading) for heading in headings}, link[0]


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_what_is_made_from_the_code_is_up_to_date() -> None:
    """If this fails, run `make reference`."""
    command = ["-m", "cogapp", "--check", "-P", "-I", "scripts"]
    pages = [page for page in PAGES if "[[[cog" in (ROOT / page).read_text()]
    result = subprocess.run(
        [sys.executable, *command, *pages],
        cwd=ROOT,
        env={"PYTHONPATH": "template"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_public_names_are_in_the_reference() -> None:
    """The reference contains all public names, and no others."""
    page = (ROOT / "docs/reference/api.md").read_text()
    documented = re.findall(r"^\.\. auto\w+:: cmi\.(?:\w+\.)?(\w+)$", page, re.MULTILINE)
    public = [*cmi.__all__, *cmi.testing.__all__, *cmi.conformance.__all__]
    assert sorted(documented) == sorted(public)


def test_no_exception_is_left_over() -> None:
    """When a page changes, it may no longer need its exception."""
    for page, heading in NOT_FOLLOWED:
        assert heading in {block.heading for block in blocks(page, "sh")}, (page, heading)


@pytest.mark.parametrize("source", sorted(PICTURES.glob("*.dot")), ids=lambda path: path.stem)
def test_a_picture_is_that_of_its_source(source: Path) -> None:
    """If this fails, run `make pictures`."""
    assert digest(source) in picture(source).read_text()


def test_the_recording_is_of_the_demo() -> None:
    """If this fails, run `make pictures`."""
    recording = html.unescape((PICTURES / "demo.svg").read_text())
    commands = re.findall(r">\$ (.*)</text>", recording)
    demo = (ROOT / "scripts/demo.py").read_text()
    made = re.findall(r'^    "[^"]+": "(cmi .*)",$', demo, re.MULTILINE)
    assert commands == made[1:]
