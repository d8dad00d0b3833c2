"""botocore's descriptions of AWS's APIs, without the documentation in them.

botocore keeps what it has read for as long as a client exists, and half of EC2's description is
documentation for people.
"""

import gzip
import json
from pathlib import Path
from typing import Any

from botocore.loaders import JSONFileLoader, Loader


def loader() -> Loader:
    """Return a loader for a session of botocore, which calls it `data_loader`."""
    return Loader(file_loader=_Undocumented())


class _Undocumented(JSONFileLoader):
    def load_file(self, file_path: str) -> Any:
        """Return the content of a file whose suffix may be .json or .json.gz, None without one."""
        for path, how in ((f"{file_path}.json", open), (f"{file_path}.json.gz", gzip.open)):
            if Path(path).is_file():
                with how(path, "rb") as file:
                    return json.load(file, object_hook=_without_documentation)
        return None


def _without_documentation(fields: dict[str, Any]) -> dict[str, Any]:
    if isinstance(fields.get("documentation"), str):  # a member of that name is not text
        del fields["documentation"]
    return fields
