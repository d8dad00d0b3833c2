"""The programs of the contest: those of the end-to-end tests, the peer, and a rendered driver."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.setting import PROVIDER, ROOT, install, render

_SOURCE = ROOT / "bench/mcm"


@dataclass(frozen=True, slots=True)
class Programs:
    """The paths of the programs.

    Attributes:
        project: The rendered project, with an adapter to the contest's cloud.
        cloud: That cloud.
        native: The peer in Go.
    """

    project: Path
    cloud: Path
    native: Path

    @classmethod
    def build(cls, folder: Path) -> "Programs":
        """Render the driver, and build the two; the rest is built by `e2e.binaries`."""
        project = folder / "project"
        render(project)
        install(project)
        shutil.copy(_SOURCE / "provider/cloud.py", project / PROVIDER / "cloud.py")
        subprocess.run(
            ["go", "build", "-trimpath", "-ldflags=-s", "-o", f"{folder}{os.sep}", "./..."],
            cwd=_SOURCE / "go",
            env=os.environ | {"CGO_ENABLED": "0"},
            check=True,
        )
        return cls(project, folder / "cloud", folder / "native")

    @property
    def driver(self) -> list[str | Path]:
        """The command that starts the rendered driver."""
        return [self.project / ".venv/bin/python", "-m", PROVIDER]

    @property
    def samples(self) -> Path:
        """The rendered manifests."""
        return self.project / "kubernetes"
