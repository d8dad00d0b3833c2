"""Rounds: contestants take turns, so that other load on the machine affects all of them equally."""

from collections.abc import Callable, Mapping
from typing import TypeVar

Sample = TypeVar("Sample")


def alternate(
    contestants: Mapping[str, Callable[[], Sample]], rounds: int
) -> dict[str, list[Sample]]:
    """Measure each contestant once a round, in turns of changing order; return the samples."""
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    order = list(contestants)
    for _ in range(rounds):
        for name in order:
            samples[name].append(contestants[name]())
        order.reverse()
    return samples
