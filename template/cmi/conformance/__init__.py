"""The conformance kit: checks a driver, in any language, against the conformance list.

It needs pytest. A driver of this framework is checked in process, with `Backstage`; any
other one, or a deployed one, by `cmi conformance`.
"""

from cmi.conformance.target import Backstage, Target

__all__ = ["Backstage", "Target"]
