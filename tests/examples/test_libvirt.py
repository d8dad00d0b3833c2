"""The second worked example: hosts with libvirt, whose library has to be built."""

import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT, git, make

pytestmark = pytest.mark.skipif(
    not (ROOT / "build/libvirt/.stamp").exists(),
    reason="no libvirt-python: install libvirt-dev, pkg-config and gcc, then `make setup`",
)


def test_it_passes_the_checks_of_every_project(on_libvirt: Path) -> None:
    """Format, lint, types, its own tests, and the conformance list on libvirt's test driver."""
    make(on_libvirt, "format")
    assert git(on_libvirt, "status", "--porcelain") == ""
    make(on_libvirt, "lint", "types", "test")
    assert git(on_libvirt, "status", "--porcelain") == ""


def test_it_builds_one_package_only(on_libvirt: Path) -> None:
    """All others come as wheels; a hash covers no tools that a package is built with."""
    makefile = "include Makefile\nshow:\n\t@echo $(wheels)\n"
    shown = subprocess.run(
        ["make", "--silent", "--file=-", "show"],
        cwd=on_libvirt,
        input=makefile,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == ["--only-binary", ":all:", "--no-binary", "libvirt-python"]
