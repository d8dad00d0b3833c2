"""The provider: what is particular to one cloud. Its files are the author's."""
