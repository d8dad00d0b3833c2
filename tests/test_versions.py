"""The releases that `make site` includes."""

from packaging.version import Version

from scripts.site import KEPT, choose


def test_the_last_of_each_minor_version_newest_first() -> None:
    released = ["0.9.0", "1.2.0", "1.10.0", "1.2.10", "1.2.9", "2.0.0"]
    chosen = [str(version) for version in choose([Version(each) for each in released])]
    assert chosen == ["2.0.0", "1.10.0", "1.2.10", "0.9.0"]


def test_old_ones_are_dropped() -> None:
    released = [Version(f"1.{minor}.0") for minor in range(2 * KEPT)]
    assert choose(released) == released[: KEPT - 1 : -1]
