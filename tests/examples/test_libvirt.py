"""The worked example for hosts with libvirt. Its library must be built."""

import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT, git, make

pytestmark = pytest.mark.skipif(
    not (ROOT / "build/libvirt/.stamp").exists(),
    reason="no libvirt-python: install libvirt-dev, pkg-config and gcc, then `make setup`",
)


def test_it_passes_the_checks_of_every_project(on_libvirt: Path) -> None:
    """The checks are format, lint, types, its own tests, and the conformance list with libvirt's
    test driver."""
    make(on_libvirt, "format")
    assert git(on_libvirt, "status", "--porcelain") == ""
    make(on_libvirt, "lint", "types", "test")
    assert git(on_libvirt, "status", "--porcelain") == ""


def test_it_builds_one_package_only(on_libvirt: Path) -> None:
    """All others are installed from wheels, since hashes do not cover the tools that build one."""
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
