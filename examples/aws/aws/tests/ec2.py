"""EC2 for tests: moto behind a gate, on a port of this process.

The gate sees every call that the driver makes. It makes EC2 fail as a test wants it to, and adds
what moto leaves out: client tokens, as EC2 treats them since 2025.
"""

import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    from types_boto3_ec2.type_defs import InstanceTypeDef

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


def error(code: str, message: str = "so it is", status: int = 400) -> Answer:
    """Return the error document that EC2 answers."""
    document = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return Answer(status, f"<Response>{document}<RequestID>r-1</RequestID></Response>".encode())


def launched(instance_id: str, state: str) -> Answer:
    """Return the answer of RunInstances."""
    instance = f"<instanceId>{instance_id}</instanceId><instanceState><name>{state}</name>"
    item = f"<instancesSet><item>{instance}</instanceState></item></instancesSet>"
    return Answer(200, f"<RunInstancesResponse>{item}</RunInstancesResponse>".encode())


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


def reported(old: str, new: str, times: float = float("inf")) -> Fault:
    """Return the fault by which DescribeInstances reports something else (a pattern)."""
    left = [times]

    def fault(call: Call, forward: Forward) -> Answer:
        answer = forward()
        if call["Action"] != "DescribeInstances" or left[0] <= 0:
            return answer
        text, count = re.subn(old, new, answer.body.decode(), flags=re.DOTALL)
        left[0] -= min(count, 1)
        return Answer(answer.status, text.encode())

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

    Attributes:
        calls: All that was asked so far.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._fault: Fault | None = None
        self._launches: dict[str, tuple[Call, Answer]] = {}
        self._terminated: set[str] = set()
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        """Let EC2 fail while the context is open."""
        self._fault = fault
        try:
            yield
        finally:
            self._fault = None

    def failing(self, answer: Answer | None, *actions: str) -> AbstractContextManager[None]:
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

        def forward() -> Answer:
            response = Response.from_app(MOTO, input_again())
            return Answer(response.status_code, response.get_data())

        answer = self._answer(Request(input_again()).form.to_dict(), forward)
        if answer is None:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        return Response(answer.body, answer.status, mimetype="text/xml")(environ, start_response)

    def _answer(self, call: Call, forward: Forward) -> Answer | None:
        self.calls.append(call)

        def remembering() -> Answer:
            if call["Action"] == "RunInstances" and "ClientToken" in call:
                return self._run(call, forward)
            if call["Action"] == "TerminateInstances":
                self._terminated.add(call["InstanceId.1"])
            return forward()

        fault = self._fault
        return fault(call, remembering) if fault else remembering()

    def _run(self, call: Call, forward: Forward) -> Answer:
        """Answer a client token that was seen before as EC2 does."""
        with self._one_at_a_time:
            token = call["ClientToken"]
            asked, answer = self._launches.get(token, (call, None))
            if answer is None:
                answer = forward()
                if answer.status == 200:
                    self._launches[token] = call, answer
                return answer
        if asked != call:
            return error("IdempotentParameterMismatch")
        ids = re.findall(r"<instanceId>(.*?)<", answer.body.decode())
        return answer if self._terminated.isdisjoint(ids) else error("IdempotentInstanceTerminated")


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

    def instances(self, name: str = "*") -> "list[InstanceTypeDef]":
        """Return the instances of a machine that are not terminated."""
        states = ["pending", "running", "stopping", "stopped", "shutting-down"]
        found = self.ec2.describe_instances(
            Filters=[
                {"Name": "tag:machine-name", "Values": [name]},
                {"Name": "instance-state-name", "Values": states},
            ]
        )
        return [one for each in found["Reservations"] for one in each["Instances"]]

    def snapshot(self) -> object:
        """Return the IDs of all instances and volumes."""
        instances = {each["InstanceId"] for each in self.instances()}
        return instances, {each["VolumeId"] for each in self.ec2.describe_volumes()["Volumes"]}

    def duplicate(self, name: str) -> str:
        """Give a machine a second instance, and return its ID."""
        (twin,) = self.instances(name)
        made = self.ec2.run_instances(
            MinCount=1,
            MaxCount=1,
            ImageId=twin["ImageId"],
            TagSpecifications=[{"ResourceType": "instance", "Tags": twin["Tags"]}],
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
