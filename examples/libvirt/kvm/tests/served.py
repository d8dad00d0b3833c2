"""The driver as a process, with libvirt's test driver: `python -m kvm.tests.served`."""

import sys

import pytest

from ..app import main
from .gate import Gate

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        Gate().stand(patch)
        sys.exit(main())
