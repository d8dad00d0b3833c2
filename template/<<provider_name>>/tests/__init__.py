"""The provider's tests, which use a real gRPC channel and the embedded cloud."""
