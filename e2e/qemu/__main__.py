"""Prepares what hosts with libvirt need, or says why none can run here."""

import subprocess
import sys

from e2e import binaries
from e2e.qemu import image, requirements
from e2e.real import images
from e2e.real.requirements import unmet


def main() -> None:
    """Prepare whatever is missing, or say in one line why the tests will be skipped."""
    try:
        reason = unmet() or requirements.install()
        if not reason:
            binaries.build(binaries.NODES)
            binaries.build_pause()
            images.build_pause()
            image.make()
    except subprocess.CalledProcessError as error:
        sys.exit(binaries.failed(error))
    if reason:
        print(f"The tests on libvirt will be skipped: {reason}", flush=True)


if __name__ == "__main__":
    main()
