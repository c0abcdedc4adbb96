"""What all tests of this folder share."""

from tests.quick import tmp_path

__all__ = ["tmp_path"]
