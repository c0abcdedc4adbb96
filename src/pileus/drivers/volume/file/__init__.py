"""Volumes as qcow2 files in a directory: local, or shared between hosts by NFS."""

from pileus.drivers.volume.file.pool import FilePool

__all__ = ["FilePool"]
