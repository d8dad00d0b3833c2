"""The provider: everything particular to one cloud. The author owns these files."""
