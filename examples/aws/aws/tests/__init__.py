"""The provider's tests: through a real gRPC channel, against moto's EC2 server over HTTP."""
