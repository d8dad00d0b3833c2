"""An AWS account in moto, and what people see and do in its console."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3

from .gate import Answer, Call, Fault, Forward

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef, TagTypeDef, VolumeTypeDef

REGION = "eu-west-1"
POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "%s", "Resource": "*"}]}'
)


@dataclass(frozen=True)
class Account:
    """An AWS account. The methods refer to instances by the names of their machines.

    Attributes:
        ec2: A client of EC2 in this account.
        fields: The image and the network in the account, as fields of a provider spec.
        writer: The secrets of a user who may do everything in EC2.
        reader: The secrets of a user who may only describe resources.
    """

    ec2: "EC2Client"
    fields: Mapping[str, Any]
    writer: Mapping[str, bytes]
    reader: Mapping[str, bytes]

    @classmethod
    def create(cls, url: str) -> "Account":
        """Create the image and the users."""
        session = boto3.Session("test", "test", region_name=REGION)
        ec2, iam = session.client("ec2", endpoint_url=url), session.client("iam", endpoint_url=url)
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        fields = {
            "ami": ec2.register_image(Name="linux", RootDeviceName="/dev/sda1")["ImageId"],
            "networkInterfaces": [{"subnetID": subnet, "securityGroupIDs": [group]}],
        }
        iam.create_instance_profile(InstanceProfileName="nodes")
        writer, reader = _user(iam, "writer", "*"), _user(iam, "reader", "ec2:Describe*")
        key, secret = (value.decode() for value in writer.values())
        session = boto3.Session(key, secret, region_name=REGION)
        return cls(session.client("ec2", endpoint_url=url), fields, writer, reader)

    def instances(self, name: str = "") -> "list[InstanceTypeDef]":
        """Return the instances that are not terminated, optionally only those of one machine."""
        pages = self.ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "tag:machine-name", "Values": [name]}] if name else []
        )
        reservations = [each for page in pages for each in page["Reservations"]]
        instances = [one for each in reservations for one in each["Instances"]]
        return [each for each in instances if each["State"]["Name"] != "terminated"]

    def has_instance(self, instance_id: str) -> bool:
        return instance_id in {each["InstanceId"] for each in self.instances()}

    def instance(self, machine: str) -> "InstanceTypeDef":
        (instance,) = self.instances(machine)
        return instance

    def volumes(self, instance: "InstanceTypeDef") -> "list[VolumeTypeDef]":
        """Return the volumes of an instance, in the order of its devices."""
        ids = [each["Ebs"]["VolumeId"] for each in instance["BlockDeviceMappings"]]
        found = {each["VolumeId"]: each for each in self.ec2.describe_volumes()["Volumes"]}
        return [found[volume_id] for volume_id in ids]

    def snapshot(self) -> tuple[set[str], set[str]]:
        """Return the IDs of all instances and volumes."""
        instances = {each["InstanceId"] for each in self.instances()}
        return instances, {each["VolumeId"] for each in self.ec2.describe_volumes()["Volumes"]}

    def parts(self, machine: str) -> object:
        """Return the properties and resources of an instance."""
        one = self.instance(machine)
        volumes = [(each["Size"], each["VolumeType"]) for each in self.volumes(one)]
        groups = [each["Groups"] for each in one["NetworkInterfaces"]]
        return one["State"], one["InstanceType"], one["SubnetId"], groups, volumes

    def tags(self, machine: str) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in self.instance(machine)["Tags"]}

    def user_data(self, machine: str) -> bytes:
        found = self.ec2.describe_instance_attribute(
            InstanceId=self.instance(machine)["InstanceId"], Attribute="userData"
        )
        return base64.b64decode(found["UserData"]["Value"])

    def launch(self, tags: "Sequence[TagTypeDef]") -> str:
        """Launch an instance by hand, and return its ID."""
        made = self.ec2.run_instances(
            MinCount=1,
            MaxCount=1,
            ImageId=self.fields["ami"],
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        return made["Instances"][0]["InstanceId"]

    def duplicate(self, machine: str) -> None:
        """Launch a second instance for a machine."""
        self.launch(self.instance(machine)["Tags"])

    @contextmanager
    def stranger(self, name: str) -> Iterator[None]:
        """Provide an instance whose only tag is its name, while the context is open."""
        made = self.launch([{"Key": "Name", "Value": name}])
        yield
        self.ec2.terminate_instances(InstanceIds=[made])

    def tag(self, machine: str, **tags: str) -> None:
        """Tag a machine's instance."""
        self.ec2.create_tags(
            Resources=[self.instance(machine)["InstanceId"]],
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )

    def rename(self, machine: str, name: str) -> None:
        self.tag(machine, Name=name)

    def unname(self, machine: str) -> None:
        self.ec2.delete_tags(
            Resources=[self.instance(machine)["InstanceId"]],
            Tags=[{"Key": "Name"}, {"Key": "machine-name"}],
        )

    def vanish(self, machine: str) -> None:
        """Terminate the machine's instance, and keep its volumes."""
        instance = self.instance(machine)
        for each in instance["BlockDeviceMappings"]:
            self.ec2.modify_instance_attribute(
                InstanceId=instance["InstanceId"],
                BlockDeviceMappings=[
                    {"DeviceName": each["DeviceName"], "Ebs": {"DeleteOnTermination": False}}
                ],
            )
        self.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])

    def dying(self) -> Fault:
        """Return a fault that terminates the next instance as soon as it is launched."""
        left = [1]

        def fault(call: Call, forward: Forward) -> Answer:
            answer = forward()
            if call["Action"] != "RunInstances" or not left[0]:
                return answer
            left[0] -= 1
            self.ec2.terminate_instances(InstanceIds=answer.find("instanceId"))
            return Answer(200, answer.body + b"\n")

        return fault


def _user(iam: Any, name: str, actions: str) -> dict[str, bytes]:
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=POLICY % actions)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "accessKeyID": key["AccessKeyId"].encode(),
        "secretAccessKey": key["SecretAccessKey"].encode(),
    }
