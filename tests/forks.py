"""How this project starts programs: with `subprocess`, which does not fork.

gRPC breaks in a fork of a process that uses it. Its at-fork handlers wake threads in the child
process. These write errors into the child's output, or end it before it becomes the new program.
Timing decides which tests share a worker, and therefore whether gRPC runs in it. So a test that
forks fails only sometimes.

On Linux, `subprocess` starts programs with vfork, which runs no such handlers, unless you pass
`preexec_fn`, `user`, `group` or `extra_groups`. So:

- Start programs with `subprocess`, without these options. Instead of `preexec_fn`, you can usually
  pass `start_new_session`, `process_group` or `umask`.
- Start programs that need a terminal with `tests/terminal.py`.
- Use `multiprocessing` with the start method "spawn".

Ruff refuses functions that fork (`banned-api` in `template/ruff.toml`, in rendered projects too),
and `tests/test_forks.py` refuses the options of `subprocess`. The fixture in this module finds
forks by libraries.
"""

import os
import traceback
from collections.abc import Iterator

import pytest

_forks: list[str] = []
os.register_at_fork(before=lambda: _forks.append("".join(traceback.format_stack())))


@pytest.fixture(autouse=True)
def no_forks() -> Iterator[None]:
    """Fail a test in which this process was forked."""
    yield
    found = [*_forks]
    _forks.clear()
    assert not found, f"gRPC breaks in forks, see {__name__}:\n{found[0]}"
