"""The SDK of a cloud that does not exist: what the code on the pages calls."""

from dataclasses import dataclass


class LoginError(Exception):
    """The credentials are wrong."""


class ForbiddenError(Exception):
    """The credentials are not allowed to do this."""


class QuotaError(Exception):
    """The quota is used up."""


class ThrottledError(Exception):
    """Too many calls."""


class RequestError(Exception):
    """A request was refused, for the reason in `code`."""

    def __init__(self, code: str) -> None:
        super().__init__(f"refused: {code}")
        self.code = code


@dataclass
class VM:
    """A VM, which is ready as soon as it was looked at often enough."""

    id: str
    left: int

    @property
    def is_building(self) -> bool:
        return self.left > 0

    @property
    def progress(self) -> int:
        return 100 - self.left


class Client:
    """A client of the cloud.

    Args:
        looks: How often a new VM is looked at before it is ready.
    """

    def __init__(self, looks: int = 0) -> None:
        self._looks = looks
        self.vms: dict[str, VM] = {}

    def find(self, name: str) -> VM | None:
        vm = self.vms.get(name)
        if vm:
            vm.left -= 1
        return vm

    def build(self, name: str) -> VM:
        self.vms[name] = VM(f"vm-{len(self.vms) + 1}", self._looks)
        return self.vms[name]

    def remove(self, name: str) -> None:
        self.vms.pop(name, None)
