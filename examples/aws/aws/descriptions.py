"""botocore's descriptions of AWS's APIs, in plain dictionaries.

botocore keeps what it has read for as long as a client exists. Its own loader makes an
`OrderedDict` of each object, which takes 8 MiB more for EC2.
"""

import gzip
import json
from pathlib import Path
from typing import Any

from botocore.loaders import JSONFileLoader, Loader


def loader() -> Loader:
    """Return a loader for a session of botocore, which calls it `data_loader`."""
    return Loader(file_loader=_PlainLoader())


class _PlainLoader(JSONFileLoader):
    def load_file(self, file_path: str) -> Any:
        """Return the content of a file, whose suffix is .json or .json.gz; None without one."""
        for path, how in ((f"{file_path}.json", open), (f"{file_path}.json.gz", gzip.open)):
            if Path(path).is_file():
                with how(path, "rb") as file:
                    return json.load(file)
        return None
