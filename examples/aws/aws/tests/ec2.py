"""EC2 for tests: moto behind a gate, on a port of this process.

The gate sees every call that the driver makes. It makes EC2 fail as a test wants it to, and adds
what moto leaves out: client tokens, as EC2 treats them since 2025.
"""

import base64
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef, TagTypeDef, VolumeTypeDef

MOTO = DomainDispatcherApplication(create_backend_app)
REGION = "eu-west-1"
POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "%s", "Resource": "*"}]}'
)


@dataclass(frozen=True)
class Answer:
    """An HTTP response of EC2."""

    status: int
    body: bytes


Call: TypeAlias = Mapping[str, str]
"""The parameters of a call of EC2."""
Forward: TypeAlias = Callable[[], Answer]
Fault: TypeAlias = Callable[[Call, Forward], Answer | None]
"""Answers a call, given a way to make it; None cuts the connection."""


def untouched(_call: Call, forward: Forward) -> Answer:
    """Let a call pass."""
    return forward()


def error(code: str, message: str = "so it is", status: int = 400) -> Answer:
    """Return the error document that EC2 answers."""
    document = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return Answer(status, f"<Response>{document}<RequestID>r-1</RequestID></Response>".encode())


def launched(instance_id: str, state: str) -> Answer:
    """Return the answer of RunInstances."""
    instance = f"<instanceId>{instance_id}</instanceId><instanceState><name>{state}</name>"
    item = f"<instancesSet><item>{instance}</instanceState></item></instancesSet>"
    answer = f"<RunInstancesResponse><requestId>r-1</requestId>{item}</RunInstancesResponse>"
    return Answer(200, answer.encode())


def failing(
    answer: Answer | None, *actions: str, times: float = float("inf"), is_done: bool = False
) -> Fault:
    """Return the fault that answers all actions or these so, whether or not EC2 does them."""
    left = [times]

    def fault(call: Call, forward: Forward) -> Answer | None:
        if (actions and call["Action"] not in actions) or left[0] <= 0:
            return forward()
        left[0] -= 1
        if is_done:
            forward()
        return answer

    return fault


def after(action: str) -> Fault:
    """Return the fault by which nothing is answered any more once an action was carried out."""
    seen: list[str] = []

    def fault(call: Call, forward: Forward) -> Answer | None:
        if action in seen:
            return None
        seen.append(call["Action"])
        return forward()

    return fault


def dying(account: "Account") -> Fault:
    """Return the fault by which the next instance ends as soon as it was launched."""
    left = [1]

    def fault(call: Call, forward: Forward) -> Answer:
        answer = forward()
        if call["Action"] != "RunInstances" or not left[0]:
            return answer
        left[0] -= 1
        account.ec2.terminate_instances(
            InstanceIds=re.findall(r"<instanceId>(.*?)<", answer.body.decode())
        )
        return Answer(200, answer.body + b"\n")

    return fault


def reported(old: str, new: str, times: float = float("inf")) -> Fault:
    """Return the fault by which DescribeInstances reports something else (a pattern)."""
    left = [times]

    def fault(call: Call, forward: Forward) -> Answer:
        answer = forward()
        if call["Action"] != "DescribeInstances" or left[0] <= 0:
            return answer
        text, count = re.subn(old, new, answer.body.decode(), flags=re.DOTALL)
        left[0] -= min(count, 1)
        return Answer(answer.status, text.encode()) if count else answer

    return fault


@contextmanager
def served(application: Any) -> Iterator[str]:
    """Serve a WSGI application on a free port, and yield its URL."""
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(WSGIRequestHandler):
    def log(self, *_args: Any) -> None:
        """Say nothing."""


class Gate:
    """A WSGI application that stands before moto.

    Args:
        account: Where it looks for what became of instances.

    Attributes:
        calls: All that was asked so far.
    """

    def __init__(self, account: "Account") -> None:
        self.calls: list[Call] = []
        self._account = account
        self._fault: Fault = untouched
        self._struck = threading.Event()
        self._launches: dict[str, tuple[Call, Answer]] = {}
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[threading.Event]:
        """Let EC2 fail while the context is open; the event is set once a call has met it."""
        self._fault, self._struck = fault, threading.Event()
        try:
            yield self._struck
        finally:
            self._fault = untouched

    def failing(
        self, answer: Answer | None, *actions: str
    ) -> AbstractContextManager[threading.Event]:
        return self.fault(failing(answer, *actions))

    @contextmanager
    def hold(self) -> Iterator[threading.Event]:
        """Let the first call wait; the event is set once it does."""
        waiting, go_on = threading.Event(), threading.Event()

        def fault(_call: Call, forward: Forward) -> Answer:
            if not waiting.is_set():
                waiting.set()
                go_on.wait()
            return forward()

        with self.fault(fault):
            try:
                yield waiting
            finally:
                go_on.set()

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        body = Request(environ).get_data()

        def input_again() -> Any:
            return {**environ, "wsgi.input": BytesIO(body)}

        call = Request(input_again()).form.to_dict()
        passed: list[Answer] = []

        def forward() -> Answer:
            def to_moto() -> Answer:
                response = Response.from_app(MOTO, input_again())
                return Answer(response.status_code, response.get_data())

            is_launch = "ClientToken" in call
            passed.append(self._launch(call, to_moto) if is_launch else to_moto())
            return passed[-1]

        self.calls.append(call)
        answer = self._fault(call, forward)
        if answer not in passed:
            self._struck.set()
        if answer is None:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        return Response(answer.body, answer.status, mimetype="text/xml")(environ, start_response)

    def _launch(self, call: Call, forward: Forward) -> Answer:
        """Answer a client token that was seen before as EC2 does."""
        with self._one_at_a_time:
            asked, answer = self._launches.get(call["ClientToken"], (call, None))
            if answer is None:
                answer = forward()
                if answer.status == 200:
                    self._launches[call["ClientToken"]] = call, answer
                return answer
        if asked != call:
            return error("IdempotentParameterMismatch")
        (instance_id,) = re.findall(r"<instanceId>(.*?)<", answer.body.decode())
        is_there = instance_id in {each["InstanceId"] for each in self._account.instances()}
        return answer if is_there else error("IdempotentInstanceTerminated")


@dataclass(frozen=True)
class Account:
    """An AWS account at moto.

    Attributes:
        ec2: A client of it.
        fields: The image and the network in it, as fields of a provider spec.
        writer: The secrets of a user who may do everything with EC2.
        reader: The secrets of one who may only describe.
    """

    ec2: "EC2Client"
    fields: Mapping[str, Any]
    writer: Mapping[str, bytes]
    reader: Mapping[str, bytes]

    @classmethod
    def create(cls, url: str) -> "Account":
        """Make the image and the users."""
        session = boto3.Session("test", "test", region_name=REGION)
        ec2, iam = session.client("ec2", endpoint_url=url), session.client("iam", endpoint_url=url)
        fields = {
            "ami": ec2.register_image(Name="linux", RootDeviceName="/dev/sda1")["ImageId"],
            "subnet": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
            "securityGroups": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        }
        iam.create_instance_profile(InstanceProfileName="nodes")
        writer, reader = _user(iam, "writer", "*"), _user(iam, "reader", "ec2:Describe*")
        key, secret = (value.decode() for value in writer.values())
        session = boto3.Session(key, secret, region_name=REGION)
        return cls(session.client("ec2", endpoint_url=url), fields, writer, reader)

    def instances(self, name: str = "") -> "list[InstanceTypeDef]":
        """Return the instances that are not terminated, or those of a machine."""
        found = self.ec2.describe_instances(
            Filters=[{"Name": "tag:machine-name", "Values": [name]}] if name else []
        )
        instances = [one for each in found["Reservations"] for one in each["Instances"]]
        return [each for each in instances if each["State"]["Name"] != "terminated"]

    def volumes(self, instance: "InstanceTypeDef") -> "list[VolumeTypeDef]":
        """Return the volumes of an instance, in the order of its devices."""
        ids = [each["Ebs"]["VolumeId"] for each in instance["BlockDeviceMappings"]]
        found = {each["VolumeId"]: each for each in self.ec2.describe_volumes()["Volumes"]}
        return [found[volume_id] for volume_id in ids]

    # What people see and do in the console, by the name of a machine

    def snapshot(self) -> tuple[set[str], set[str]]:
        """Return the IDs of all instances and volumes."""
        instances = {each["InstanceId"] for each in self.instances()}
        return instances, {each["VolumeId"] for each in self.ec2.describe_volumes()["Volumes"]}

    def instance(self, machine: str) -> "InstanceTypeDef":
        (instance,) = self.instances(machine)
        return instance

    def parts(self, machine: str) -> object:
        """Return what an instance is made of."""
        one = self.instance(machine)
        volumes = [(each["Size"], each["VolumeType"]) for each in self.volumes(one)]
        return one["State"], one["InstanceType"], one["SubnetId"], one["SecurityGroups"], volumes

    def tags(self, machine: str) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in self.instance(machine)["Tags"]}

    def user_data(self, machine: str) -> bytes:
        found = self.ec2.describe_instance_attribute(
            InstanceId=self.instance(machine)["InstanceId"], Attribute="userData"
        )
        return base64.b64decode(found["UserData"]["Value"])

    def duplicate(self, machine: str) -> None:
        """Give a machine a second instance."""
        twin = self.instance(machine)
        self._launch(twin["ImageId"], twin["Tags"])

    @contextmanager
    def stranger(self, name: str) -> Iterator[None]:
        """Have an instance that has a name, and no other tag."""
        made = self._launch(self.fields["ami"], [{"Key": "Name", "Value": name}])
        yield
        self.ec2.terminate_instances(InstanceIds=[made])

    def rename(self, machine: str, name: str) -> None:
        instance_id = self.instance(machine)["InstanceId"]
        self.ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "Name", "Value": name}])

    def unname(self, machine: str) -> None:
        instance_id = self.instance(machine)["InstanceId"]
        self.ec2.delete_tags(
            Resources=[instance_id], Tags=[{"Key": "Name"}, {"Key": "machine-name"}]
        )

    def vanish(self, machine: str) -> None:
        """Terminate the machine's instance, and let its volumes survive."""
        instance = self.instance(machine)
        for each in instance["BlockDeviceMappings"]:
            self.ec2.modify_instance_attribute(
                InstanceId=instance["InstanceId"],
                BlockDeviceMappings=[
                    {"DeviceName": each["DeviceName"], "Ebs": {"DeleteOnTermination": False}}
                ],
            )
        self.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])

    def _launch(self, ami: str, tags: "Sequence[TagTypeDef]") -> str:
        made = self.ec2.run_instances(
            MinCount=1,
            MaxCount=1,
            ImageId=ami,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        return made["Instances"][0]["InstanceId"]


def _user(iam: Any, name: str, actions: str) -> dict[str, bytes]:
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=POLICY % actions)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {
        "accessKeyID": key["AccessKeyId"].encode(),
        "secretAccessKey": key["SecretAccessKey"].encode(),
    }
