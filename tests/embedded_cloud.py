"""Access to the embedded cloud of a rendered driver from another process."""

import importlib.util
import sys
from functools import cache
from types import ModuleType
from typing import Any

from tests.support import ROOT

SOURCE = ROOT / "template/<<provider_name>>/embedded_cloud.py"
NAME_LABEL = "machine-name"
"""Where the rendered adapter stores the machine's name."""


@cache
def module() -> ModuleType:
    """Load the module of the embedded cloud, whose folder is not a package in this repository."""
    spec = importlib.util.spec_from_file_location("embedded_cloud", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found  # dataclasses look up their module there
    spec.loader.exec_module(found)
    return found


def opened(file: object) -> Any:
    """Return the `EmbeddedCloud` of a file."""
    return module().EmbeddedCloud(str(file))
