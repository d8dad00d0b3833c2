"""The conformance list as tests: `from cmi.conformance.suite import *` in a test module.

The module defines the fixture `target`, of any scope, which returns a `cmi.conformance.Target`.
The name of every test contains the item that it checks. The import only adds the tests and the
fixture `kit` to the module.
"""

from cmi.conformance.suite import (
    create,
    delete,
    errors,
    fixtures,
    identity,
    initialize,
    list_machines,
    operation,
    secrets,
    shut_down,
    status,
    volumes,
)
from cmi.conformance.suite.create import *  # noqa: F403
from cmi.conformance.suite.delete import *  # noqa: F403
from cmi.conformance.suite.errors import *  # noqa: F403
from cmi.conformance.suite.fixtures import *  # noqa: F403
from cmi.conformance.suite.identity import *  # noqa: F403
from cmi.conformance.suite.initialize import *  # noqa: F403
from cmi.conformance.suite.list_machines import *  # noqa: F403
from cmi.conformance.suite.operation import *  # noqa: F403
from cmi.conformance.suite.secrets import *  # noqa: F403
from cmi.conformance.suite.shut_down import *  # noqa: F403
from cmi.conformance.suite.status import *  # noqa: F403
from cmi.conformance.suite.volumes import *  # noqa: F403

__all__ = [  # noqa: PLE0604
    *create.__all__,
    *delete.__all__,
    *errors.__all__,
    *fixtures.__all__,
    *identity.__all__,
    *initialize.__all__,
    *list_machines.__all__,
    *operation.__all__,
    *secrets.__all__,
    *shut_down.__all__,
    *status.__all__,
    *volumes.__all__,
]
