"""The Pods on the node of a machine that is deleted."""

from lightkube.models.core_v1 import (
    AttachedVolume,
    Container,
    NodeStatus,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource,
    PodSpec,
    Volume,
    VolumeResourceRequirements,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.models.storage_v1 import VolumeAttachmentSource, VolumeAttachmentSpec
from lightkube.resources.core_v1 import Node, PersistentVolumeClaim, Pod
from lightkube.resources.storage_v1 import VolumeAttachment

from e2e.cluster import Cluster, Machine
from e2e.process import await_value

CSI_VOLUME = "kubernetes.io/csi/csi.embedded.cloud^volume-0001"


def attach(cluster: Cluster, volumes: list[AttachedVolume]) -> None:
    """Set the volumes that are attached to the node, as the attach-detach controller would."""
    status = NodeStatus(volumesAttached=volumes, volumesInUse=[volume.name for volume in volumes])
    cluster.control_plane.client.patch(
        Node.Status, "acme-machine", Node.Status(status=status).to_dict()
    )


def test_pod_with_a_volume_is_drained_before_its_machine_is_deleted(cluster: Cluster) -> None:
    cluster.start()
    client = cluster.control_plane.client
    cluster.apply("secret.yaml", "machine-class.yaml", "machine.yaml", "persistent-volumes.yaml")
    await_value(cluster.phases, {"acme-machine": "Running"})
    client.create(
        PersistentVolumeClaim(
            metadata=ObjectMeta(name="data", namespace="default"),
            spec=PersistentVolumeClaimSpec(
                accessModes=["ReadWriteOnce"],
                resources=VolumeResourceRequirements(requests={"storage": "10Gi"}),
                storageClassName="",
                volumeName="acme-csi",
            ),
        )
    )
    claim = PersistentVolumeClaimVolumeSource(claimName="data")
    client.create(
        Pod(
            metadata=ObjectMeta(name="database", namespace="default"),
            spec=PodSpec(
                nodeName="acme-machine",
                containers=[Container(name="database", image="database")],
                volumes=[Volume(name="data", persistentVolumeClaim=claim)],
                terminationGracePeriodSeconds=1,
            ),
        )
    )
    client.create(
        VolumeAttachment(
            metadata=ObjectMeta(name="data"),
            spec=VolumeAttachmentSpec(
                attacher="csi.embedded.cloud",
                nodeName="acme-machine",
                source=VolumeAttachmentSource(persistentVolumeName="acme-csi"),
            ),
        )
    )
    attach(cluster, [AttachedVolume(name=CSI_VOLUME, devicePath="")])

    cluster.delete(Machine, "acme-machine")
    await_value(lambda: [*client.list(Pod, namespace="default")], [])
    assert cluster.calls("get_volume_ids") == 1
    cluster.await_listings(4)  # in these 20 s, MCM has kept waiting for the volume
    assert cluster.vms() == {"acme-machine": "running"}

    attach(cluster, [])
    client.delete(VolumeAttachment, "data")
    await_value(cluster.phases, {})
    assert cluster.vms() == {}
