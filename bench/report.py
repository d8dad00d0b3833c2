"""The results of the benchmarks: a table for people, and JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench import machine


@dataclass(frozen=True, slots=True)
class Target:
    """A target for a ratio, or for the figure itself.

    Attributes:
        bound: The highest value, or the lowest one.
        at_least: Whether it is the lowest one.
        is_absolute: Whether it is for the figure.
    """

    bound: float
    at_least: bool = False
    is_absolute: bool = False

    def is_met(self, value: float) -> bool:
        """Return whether a ratio, or a figure, meets the target."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{'figure ' if self.is_absolute else ''}{sign} {self.bound:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: the median of all rounds, and what it is divided by.

    Attributes:
        group: The benchmark.
        case: What was measured.
        measure: Which figure of it, with its unit.
        value: The figure.
        base: The same of what it is compared with.
        ratio: The median of the ratios of each round.
        low: The lowest of them.
        high: The highest of them.
        target: What the ratio, or the figure, is to be.
        met: Whether it is.
    """

    group: str
    case: str
    measure: str
    value: float
    base: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    target: str | None = None
    met: bool | None = None


@dataclass(slots=True)
class Report:
    """All rows, printed as they come."""

    rows: list[Row] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _group: str = ""

    def sample(self, case: str, contestant: str, figures: Mapping[str, float]) -> None:
        """Add a single run that took long, so that it is not lost if a later one fails."""
        self.samples.append({"case": case, "contestant": contestant, **figures})
        values = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        print(f"run: {case}, {contestant}: {values}", flush=True)

    def figure(self, group: str, case: str, measure: str, value: float) -> None:
        """Add a figure without a comparison."""
        self._add(Row(group=group, case=case, measure=measure, value=value))

    def compare(
        self,
        group: str,
        case: str,
        measure: str,
        subject: Sequence[float],
        base: Sequence[float],
        target: Target | None = None,
    ) -> None:
        """Add the results of all rounds for the subject, divided by those for the base."""
        ratios = [one / other for one, other in zip(subject, base, strict=True) if other]
        ratio = median(ratios) if ratios else None
        judged = median(subject) if target and target.is_absolute else ratio
        self._add(
            Row(
                group=group,
                case=case,
                measure=measure,
                value=median(subject),
                base=median(base),
                ratio=ratio,
                low=min(ratios, default=None),
                high=max(ratios, default=None),
                target=str(target) if target else None,
                met=target.is_met(judged) if target and judged is not None else None,
            )
        )

    def note(self, text: str) -> None:
        """Add a note about the figures."""
        self.notes.append(text)
        print(f"note: {text}", flush=True)

    def write(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "machine": machine.describe(),
            "notes": self.notes,
            "rows": [asdict(row) for row in self.rows],
            "samples": self.samples,
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        if row.group != self._group:
            self._group = row.group
            print(f"\n== {row.group}", flush=True)
        line = f"{row.case:62} {row.measure:22} {row.value:>10,.2f}"
        if row.ratio is not None:
            line += f" ÷ {row.base:>10,.2f} = {row.ratio:5.2f} ({row.low:.2f} to {row.high:.2f})"
        if row.target is not None:
            line += f"  {row.target} {'met' if row.met else 'MISSED'}"
        print(line, flush=True)
