"""The SDK of a cloud that does not exist, which the code on the pages calls.

The cloud has no regions. Its IDs are numbers, its labels contain no `/`, and the names of its
servers are unique in a project. It accepts each request, and carries it out later.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal


class ApiError(Exception):
    """The cloud refused a call."""


class LoginError(ApiError):
    """The credentials are wrong."""


class ForbiddenError(ApiError):
    """The credentials are not allowed to do this."""


class NotFoundError(ApiError):
    """The server does not exist."""


class QuotaError(ApiError):
    """The quota is used up."""


class ThrottledError(ApiError):
    """There were too many calls."""


class RequestError(ApiError):
    """A request was refused, for the reason in `code`."""

    def __init__(self, code: str) -> None:
        super().__init__(f"refused: {code}")
        self.code = code


@dataclass(frozen=True)
class Action:
    """A request that the cloud has accepted, and carries out some time later.

    Attributes:
        id: Unique in the project.
        command: `create`, `attach_network`, `stop` or `delete`.
        status: Whether it is running, or how it ended.
        progress: Its progress in percent.
        error: The reason if it failed.
    """

    id: int
    command: str
    status: Literal["running", "success", "error"]
    progress: int = 0
    error: str = ""


@dataclass(frozen=True)
class Server:
    """A server.

    Attributes:
        id: Unique in the project.
        name: Unique in the project.
        type: Its size.
        image: The image that it boots.
        labels: They consist of letters, digits, `-`, `_` and `.`.
        status: `running` does not imply that it has a network.
        networks: The networks that it is attached to.
        action: The latest action on it.
    """

    id: int
    name: str
    type: str
    image: str
    labels: Mapping[str, str]
    status: Literal["starting", "running", "off", "deleting"]
    networks: tuple[str, ...]
    action: Action


class Project:
    """The resources of a customer of the cloud.

    Args:
        looks: How often a server must be read until an action on it ends.

    Attributes:
        servers: The servers by their IDs.
        failing: The commands whose actions fail, with the reasons.
        user_data: The user data of each server, by the server's ID.
    """

    def __init__(self, looks: int = 0) -> None:
        self.looks = looks
        self.servers: dict[int, Server] = {}
        self.failing: dict[str, str] = {}
        self.user_data: dict[int, str] = {}
        self._left: dict[int, int] = {}
        self._network: dict[int, str] = {}
        self._ids = iter(range(4711, 10**9))
        self._lock = threading.Lock()

    @contextmanager
    def one_call(self) -> Iterator[None]:
        """Make the calls take effect one after the other."""
        with self._lock:
            yield

    def new_id(self) -> int:
        """Return a new number."""
        return next(self._ids)

    def begin(self, server: Server, command: str, network: str = "") -> None:
        """Accept an action."""
        if server.action.status == "running" and command != "delete":
            raise RequestError("Busy")
        action = Action(self.new_id(), command, "running")
        status = "deleting" if command == "delete" else server.status
        self.servers[server.id] = replace(server, status=status, action=action)
        self._left[server.id] = self.looks
        self._network[server.id] = network
        if not self.looks:
            self._end(self.servers[server.id])

    def look_at(self, server: Server) -> Server:
        """Return a server as it is after it was read once more."""
        if server.action.status == "running":
            self._left[server.id] -= 1
            done = 100 - 100 * self._left[server.id] // max(self.looks, 1)
            self.servers[server.id] = replace(
                server, action=replace(server.action, progress=min(done, 99))
            )
            if self._left[server.id] <= 0:
                self._end(self.servers[server.id])
        return server

    def _end(self, server: Server) -> None:
        command = server.action.command
        if error := self.failing.get(command):
            action = replace(server.action, status="error", error=error)
            self.servers[server.id] = replace(server, action=action)
            return
        server = replace(server, action=replace(server.action, status="success", progress=100))
        if command == "create":
            server = replace(server, status="running")
        elif command == "attach_network":
            server = replace(server, networks=(self._network[server.id],))
        elif command == "stop":
            server = replace(server, status="off")
        self.servers[server.id] = server
        if command == "delete":
            del self.servers[server.id]


class Client:
    """The API, for the owner of a token.

    Args:
        project: The project that the token belongs to.
        token: The token. Only `secret-token` is valid.
    """

    def __init__(self, project: Project, token: str = "secret-token") -> None:
        self._project = project
        self._token = token

    def servers(self, labels: Mapping[str, str]) -> list[Server]:
        """Return all servers that have these labels. The SDK reads one page after the other."""
        with self._call():
            found = [*self._project.servers.values()]
            return [
                self._project.look_at(each)
                for each in found
                if labels.items() <= each.labels.items()
            ]

    def server(self, server_id: int) -> Server:
        """Return a server, or raise NotFoundError."""
        with self._call():
            return self._project.look_at(self._server(server_id))

    def create_server(
        self, name: str, *, type_: str, image: str, labels: Mapping[str, str], user_data: str
    ) -> Server:
        """Begin to create and start a server. It has no network yet."""
        with self._call():
            if any(name == each.name for each in self._project.servers.values()):
                raise RequestError("NameTaken")
            for text in (name, *labels, *labels.values()):
                if not re.fullmatch(r"[A-Za-z0-9_.-]{0,128}", text):
                    raise RequestError("LabelSyntax")
            server_id = self._project.new_id()
            accepted = Action(self._project.new_id(), "create", "success")
            server = Server(server_id, name, type_, image, labels, "starting", (), accepted)
            self._project.user_data[server_id] = user_data
            self._project.begin(server, "create")
            return self._server(server_id)

    def attach_network(self, server_id: int, network: str) -> None:
        """Begin to attach a server to a network. This is refused while another action runs."""
        with self._call():
            self._project.begin(self._server(server_id), "attach_network", network)

    def stop_server(self, server_id: int) -> None:
        """Begin to stop a server."""
        with self._call():
            self._project.begin(self._server(server_id), "stop")

    def delete_server(self, server_id: int) -> None:
        """Begin to delete a server, or raise NotFoundError."""
        with self._call():
            self._project.begin(self._server(server_id), "delete")

    def leave_balancer(self, name: str) -> None:
        """Remove a server from the load balancer, if it is there."""

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._project.one_call():
            if self._token != "secret-token":
                raise LoginError("unknown token")
            yield

    def _server(self, server_id: int) -> Server:
        if server_id not in self._project.servers:
            raise NotFoundError(f"there is no server {server_id}")
        return self._project.servers[server_id]


class AsyncClient:
    """The same API for asyncio, with only some of its calls."""

    def __init__(self, project: Project, token: str = "secret-token") -> None:
        self._client = Client(project, token)

    async def servers(self, labels: Mapping[str, str]) -> list[Server]:
        """Return all servers that have these labels."""
        return self._client.servers(labels)

    async def server(self, server_id: int) -> Server:
        """Return a server, or raise NotFoundError."""
        return self._client.server(server_id)
