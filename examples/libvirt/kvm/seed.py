"""The seed: a small disk from which cloud-init reads the user data, without a server for it.

Its form is that of cloud-init's NoCloud data source: a file system labelled `cidata` with the
files `user-data` and `meta-data`.
"""

import json
from io import BytesIO
from typing import Final

from pycdlib import PyCdlib

LABEL: Final = "cidata"


def seed_image(machine: str, domain_id: str, user_data: bytes) -> bytes:
    """Return the disk's content.

    Args:
        machine: The machine's name, which becomes the VM's host name.
        domain_id: The domain's ID: cloud-init runs the user data once for each ID.
        user_data: What it runs.
    """
    meta_data = {"instance-id": domain_id, "local-hostname": machine}
    files = {"user-data": user_data, "meta-data": json.dumps(meta_data).encode()}  # YAML, too
    disk = PyCdlib()
    disk.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    for name, content in files.items():
        disk.add_fp(
            BytesIO(content),
            len(content),
            iso_path=f"/{name.replace('-', '').upper()}.;1",
            joliet_path=f"/{name}",
            rr_name=name,
        )
    image = BytesIO()
    disk.write_fp(image)
    disk.close()
    return image.getvalue()
