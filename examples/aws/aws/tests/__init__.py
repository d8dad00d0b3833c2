"""The provider's tests, which use a real gRPC channel and moto's EC2 server over HTTP."""
