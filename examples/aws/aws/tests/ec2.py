"""EC2 for tests: moto's server as a process of its own, and a gate before it.

The gate is an HTTP proxy that the driver talks to. It makes EC2 fail as a test wants it to, and
adds what moto leaves out: client tokens.
"""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import boto3
import urllib3

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client

REGION = "eu-west-1"
SETTINGS = {
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
    "PYTHONUNBUFFERED": "1",
}
POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "%s", "Resource": "*"}]}'
)


@contextmanager
def moto_server(environment: Mapping[str, str]) -> Iterator[str]:
    """Run moto's server on a free port of its choice, and yield its URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "--port=0"],
        env={**environment, **SETTINGS},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        log = process.stderr
        urls = (found[0] for line in log if (found := re.search(r"http://[0-9.]+:[0-9]+", line)))
        # It goes on logging, and would stop if nobody read that.
        reader = threading.Thread(target=lambda: [*urls])
        try:
            url = next(urls, "")
            assert url, "moto has ended instead of serving"
            reader.start()
            yield url
        finally:
            process.kill()
            process.wait()
            if reader.is_alive():
                reader.join()


@dataclass(frozen=True)
class Account:
    """An AWS account at moto.

    Attributes:
        url: Where moto listens.
        fields: The image and the network in it, as fields of a provider spec.
        writer: The secrets of a user who may do everything with EC2.
        reader: The secrets of one who may only describe.
    """

    url: str
    fields: Mapping[str, Any]
    writer: Mapping[str, bytes]
    reader: Mapping[str, bytes]

    @classmethod
    def create(cls, url: str) -> "Account":
        """Make the users and the image; from then on moto checks signatures and policies."""
        session = boto3.Session("test", "test", region_name=REGION)
        ec2 = session.client("ec2", endpoint_url=url)
        image = ec2.register_image(Name="linux", RootDeviceName="/dev/sda1")
        fields = {
            "ami": image["ImageId"],
            "subnet": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
            "securityGroups": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        }
        iam = session.client("iam", endpoint_url=url)
        iam.create_instance_profile(InstanceProfileName="nodes")
        account = cls(url, fields, _user(iam, "writer", "*"), _user(iam, "reader", "ec2:Describe*"))
        plain = {"Content-Type": "text/plain"}
        urllib3.request("POST", f"{url}/moto-api/reset-auth", body="0", headers=plain)
        return account

    def ec2(self) -> "EC2Client":
        """Return a client that talks to moto behind the gate."""
        key, secret = (value.decode() for value in self.writer.values())
        session = boto3.Session(key, secret, region_name=REGION)
        return session.client("ec2", endpoint_url=self.url)

    def instances(self, name: str = "*") -> list[str]:
        """Return the IDs of the instances of a machine that are not terminated."""
        states = ["pending", "running", "stopping", "stopped", "shutting-down"]
        pages = (
            self.ec2()
            .get_paginator("describe_instances")
            .paginate(
                Filters=[
                    {"Name": "tag:Name", "Values": [name]},
                    {"Name": "instance-state-name", "Values": states},
                ]
            )
        )
        reservations = [each for page in pages for each in page["Reservations"]]
        return sorted(one["InstanceId"] for each in reservations for one in each["Instances"])

    def volumes(self) -> list[str]:
        """Return the IDs of all volumes."""
        pages = self.ec2().get_paginator("describe_volumes").paginate()
        return sorted(each["VolumeId"] for page in pages for each in page["Volumes"])

    def duplicate(self, name: str) -> str:
        """Give a machine a second instance, and return its ID."""
        (twin,) = self.instances(name)
        ec2 = self.ec2()
        instance = ec2.describe_instances(InstanceIds=[twin])["Reservations"][0]["Instances"][0]
        made = ec2.run_instances(
            MinCount=1,
            MaxCount=1,
            ImageId=instance["ImageId"],
            TagSpecifications=[{"ResourceType": "instance", "Tags": instance["Tags"]}],
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


@dataclass(frozen=True)
class Answer:
    """An HTTP response of EC2."""

    status: int
    body: bytes


def error(code: str, message: str = "so it is", status: int = 400) -> Answer:
    """Return the error document that EC2 answers."""
    document = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return Answer(status, f"<Response>{document}<RequestID>r-1</RequestID></Response>".encode())


Forward: TypeAlias = Callable[[], Answer]
Call: TypeAlias = Mapping[str, str]
"""The parameters of a call of EC2."""
Fault: TypeAlias = Callable[[Call, Forward], Answer | None]
"""Answers a call, given a way to make it; None cuts the connection."""


def failing(answer: Answer | None, *actions: str, times: float = float("inf")) -> Fault:
    """Return the fault that answers all actions or these so, before EC2 sees them."""
    left = [times]

    def fault(call: Call, forward: Forward) -> Answer | None:
        if (actions and call["Action"] not in actions) or left[0] <= 0:
            return forward()
        left[0] -= 1
        return answer

    return fault


def lost(action: str) -> Fault:
    """Return the fault by which EC2 does what it is told, but its answer never arrives."""

    def fault(call: Call, forward: Forward) -> Answer | None:
        answer = forward()
        return None if call["Action"] == action else answer

    return fault


def reported(old: str, new: str, times: float = float("inf")) -> Fault:
    """Return the fault by which DescribeInstances reports something else (a pattern)."""
    left = [times]

    def fault(call: Call, forward: Forward) -> Answer:
        answer = forward()
        if call["Action"] != "DescribeInstances" or left[0] <= 0:
            return answer
        left[0] -= 1
        text = re.sub(old, new, answer.body.decode(), flags=re.DOTALL)
        return Answer(answer.status, text.encode())

    return fault


def forgotten(state: str) -> Fault:
    """Return the fault by which DescribeInstances leaves out the instances in a state."""

    def fault(call: Call, forward: Forward) -> Answer:
        answer = forward()
        document = ElementTree.fromstring(answer.body)
        for reservations in document.iterfind("{*}reservationSet"):
            for one in [*reservations]:
                if one.findtext(".//{*}instanceState/{*}name") == state:
                    reservations.remove(one)
        return Answer(answer.status, ElementTree.tostring(document))

    return fault


class Gate(ThreadingHTTPServer):
    """The proxy, on a free port.

    Attributes:
        launches: By client token, what RunInstances was asked for, and its answer.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        self.target = target
        self.pool = urllib3.PoolManager(maxsize=50)
        self._fault: Fault | None = None
        self.launches: dict[str, tuple[Call, Answer]] = {}
        self._terminated: set[str] = set()
        self._one_at_a_time = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def serving(self) -> Iterator["Gate"]:
        thread = threading.Thread(target=self.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

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

    def answer(self, call: Call, forward: Forward) -> Answer | None:
        """Answer one call of EC2; None cuts the connection."""

        def remembering() -> Answer:
            if call["Action"] == "RunInstances":
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
            if token not in self.launches:
                answer = forward()
                if answer.status == 200:
                    self.launches[token] = call, answer
                return answer
            asked, answer = self.launches[token]
        if asked != call:
            return error("IdempotentParameterMismatch")
        if self._terminated.isdisjoint(_ids(answer.body)):
            return answer
        return Answer(200, answer.body.replace(b"<name>pending<", b"<name>terminated<"))


def _ids(body: bytes) -> set[str]:
    return set(re.findall(r"<instanceId>(.*?)<", body.decode()))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gate

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))

        def forward() -> Answer:
            url, headers = self.server.target + self.path, dict(self.headers)  # signed as they are
            response = self.server.pool.request("POST", url, body=body, headers=headers)
            return Answer(response.status, response.data)

        answer = self.server.answer(dict(parse_qsl(body.decode())), forward)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""
