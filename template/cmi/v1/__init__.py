"""The wire contract: `cmi.proto` and what `make stubs` generates from it."""
