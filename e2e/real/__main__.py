"""Prepares what a real cluster needs, or says why none can run here: packages, programs, images."""

import subprocess
import sys
import tempfile
from pathlib import Path

from copier import run_copy

from e2e import binaries
from e2e.real import images, requirements
from tests.support import ANSWERS, ROOT


def main() -> None:
    """Prepare whatever is missing, or say in one line why the tests will be skipped."""
    reason = requirements.unmet() or requirements.install(requirements.missing())
    reason = reason or images.make_base()
    if reason:
        print(f"The tests on a real cluster will be skipped: {reason}", flush=True)
        return
    try:
        binaries.build(binaries.NODES)
        binaries.build(binaries.KUBE_ROUTER)
        binaries.build_pause()
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder) / "project"
            run_copy(str(ROOT), project, ANSWERS, vcs_ref="HEAD", defaults=True, quiet=True)
            images.build(project)
    except subprocess.CalledProcessError as error:
        sys.exit(binaries.failed(error))


if __name__ == "__main__":
    main()
