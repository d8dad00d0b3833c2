"""By an update, a fix to a rule of the contract reaches a driver that an author has written."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import commit
from tests.update.projects import render, update

SCRIPT = """
from acme.cloud import Cloud
from acme.embedded_cloud import EmbeddedCloud
from acme.machineserver import MachineServer
from cmi.testing import Samples, connected
from pathlib import Path
import grpc

samples = Samples(Path("kubernetes"))
with connected(MachineServer(Cloud(EmbeddedCloud("cloud.sqlite")))) as client:
    client.create(samples.machine_class(), "m1")
    try:
        client.create(samples.machine_class(machineType="standard-8"), "m1")
    except grpc.RpcError as error:
        print(error.details())
"""
RULE = "delete it first or use another name"
FIXED = "delete it first, or choose another name"


def refusal(project: Path) -> str:
    """Return the driver's answer to a call with the same name and a different spec."""
    (project / "cloud.sqlite").unlink(missing_ok=True)
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=project, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_fixed_rule_arrives(template: Path, tmp_path: Path) -> None:
    repository = shutil.copytree(template, tmp_path / "template")
    render(repository, tmp_path / "project", "1.0.0")
    project = tmp_path / "project"
    for name in ("cloud.py", "machineserver.py"):
        path = project / "acme" / name
        path.write_text(path.read_text() + "\n# Mine.\n")
    commit(project)
    assert RULE in refusal(project)

    rules = repository / "template/cmi/rules.py"
    rules.write_text(rules.read_text().replace(RULE, FIXED))
    commit(repository, tag="1.0.1")
    update(project)
    assert FIXED in refusal(project)
    for name in ("cloud.py", "machineserver.py"):
        assert (project / "acme" / name).read_text().endswith("# Mine.\n")
