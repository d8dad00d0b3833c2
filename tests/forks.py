"""How this project starts programs: with `subprocess`, which does not fork.

gRPC breaks in a fork of a process that uses it. Its at-fork handlers wake threads in the child,
and those write errors into the child's output or end it before it becomes the program that was to
be started. Which tests share a worker, and so whether gRPC runs in it, depends on timing: such a
test fails now and then.

On Linux, `subprocess` starts programs by vfork, which runs no such handlers, unless it is asked for
`preexec_fn`, `user`, `group` or `extra_groups`. So:

- start programs with `subprocess`, without these options: `start_new_session`, `process_group` and
  `umask` do what most uses of `preexec_fn` do;
- start programs that need a terminal with `tests/terminal.py`;
- use `multiprocessing` with the start method "spawn".

Ruff refuses what forks (`banned-api` in `template/ruff.toml`, in rendered projects too),
`tests/test_forks.py` the options of `subprocess`, and the fixture here what a library does.
"""

import os
import traceback
from collections.abc import Iterator

import pytest

_forks: list[str] = []
os.register_at_fork(before=lambda: _forks.append("".join(traceback.format_stack())))


@pytest.fixture(autouse=True)
def no_forks() -> Iterator[None]:
    """Fail the test in which this process was forked."""
    yield
    found = [*_forks]
    _forks.clear()
    assert not found, f"gRPC breaks in forks, see {__name__}:\n{found[0]}"
