"""How kubectl reads files, according to its own code, and as recorded in tests/framework.

`python -m e2e.manifests` updates the record for the files that it contains.
"""

import base64
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

from e2e.binaries import MANIFESTS
from tests.support import ROOT

RECORD = ROOT / "tests" / "framework" / "kubectl.json"


class Kubectl:
    """The program in `e2e/kubernetes/manifests`. Use it as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [MANIFESTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate()

    def read(self, path: Path) -> list[Any] | None:
        """Return the objects of a file, or None if kubectl refuses it.

        Each object is its kind and what MCM would send from it: the text of a provider spec, the
        values of a Secret in base64, or None. If the API server would refuse it: `refused`.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return None if "error" in answer else [_content(found) for found in answer["objects"]]


def _content(found: dict[str, Any]) -> list[Any]:
    if "error" in found:
        return [found["kind"], "refused"]
    if found["kind"] == "MachineClass":
        return [found["kind"], base64.b64decode(found.get("providerSpec", "")).decode()]
    return [found["kind"], found.get("data", {}) if found["kind"] == "Secret" else None]


def main() -> None:
    """Read every file of the record with kubectl's code again."""
    texts = [text for text, _ in json.loads(RECORD.read_text())]
    with Kubectl() as kubectl, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.yaml"
        record = []
        for text in texts:
            path.write_bytes(text.encode())
            record.append([text, kubectl.read(path)])
    RECORD.write_text("[\n" + ",\n".join(map(json.dumps, record)) + "\n]\n")


if __name__ == "__main__":
    main()
