"""The provider's tests: through a real gRPC channel, against the embedded cloud."""
