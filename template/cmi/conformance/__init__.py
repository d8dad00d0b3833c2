"""The conformance kit: checks a driver, in any language, against the conformance list.

It needs pytest. The tests of a driver with this framework run the kit in process, with
`Backstage`; `cmi conformance` checks any other driver, or a deployed one.
"""

from cmi.conformance.target import Backstage, Target

__all__ = ["Backstage", "Target"]
