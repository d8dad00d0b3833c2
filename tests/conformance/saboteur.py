"""A proxy that makes a good driver behave wrongly, by changing requests or responses."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

import grpc

from cmi.v1 import cmi_pb2
from tests.support import status_of

Forward = Callable[[Any], Any]
Context = grpc.ServicerContext

SERVICES = {
    service.full_name: [method.name for method in service.methods]
    for service in cmi_pb2.DESCRIPTOR.services_by_name.values()
}
CALLERS = 32


class Saboteur:
    """Forwards every call to the good driver, unless a subclass changes the behaviour.

    A subclass has methods named after RPCs. Such a method takes the request, a function that
    forwards a request to the good driver, and the context of the call; it returns the response,
    or aborts. `fail` can be overridden too.
    """

    breaks: ClassVar[tuple[str, ...]] = ()
    """The items that the kit must report as broken, and no others."""

    serves: ClassVar[tuple[str, ...]] = tuple(SERVICES)
    """The services that it serves."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def fail(self, context: Context, request: Any, code: grpc.StatusCode, message: str) -> None:
        """Answer with the status of the good driver."""
        context.abort(code, message)

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return the handlers of its services."""
        return [
            grpc.method_handlers_generic_handler(
                service, {rpc: self._handler(service, rpc) for rpc in SERVICES[service]}
            )
            for service in self.serves
        ]

    def _handler(self, service: str, rpc: str) -> "grpc.RpcMethodHandler[Any, Any]":
        request_class = getattr(cmi_pb2, f"{rpc}Request")
        response_class = getattr(cmi_pb2, f"{rpc}Response")
        good: grpc.UnaryUnaryMultiCallable[Any, Any] = self._channel.unary_unary(
            f"/{service}/{rpc}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        spoil = getattr(self, rpc, None)

        def behave(request: Any, context: Context) -> Any:
            try:
                return spoil(request, good, context) if spoil else good(request)
            except grpc.RpcError as error:
                self.fail(context, request, *status_of(error))

        return grpc.unary_unary_rpc_method_handler(
            behave, request_class.FromString, response_class.SerializeToString
        )


@contextmanager
def sabotaged(kind: type[Saboteur], endpoint: str) -> Iterator[str]:
    """Run a saboteur in front of the driver at `endpoint`; yield the saboteur's endpoint."""
    options = (("grpc.enable_http_proxy", 0),)
    with (
        grpc.insecure_channel(endpoint.removeprefix("tcp://"), options) as channel,
        ThreadPoolExecutor(CALLERS) as threads,
    ):
        server = grpc.server(threads)
        server.add_generic_rpc_handlers(kind(channel).handlers())
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"tcp://127.0.0.1:{port}"
        finally:
            server.stop(None).wait()
