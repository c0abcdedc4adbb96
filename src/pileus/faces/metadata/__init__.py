"""What a guest learns about itself at 169.254.169.254: the OpenStack, EC2 and CloudStack trees, by the port that asks."""

from pileus.faces.metadata.service import application

__all__ = ["application"]
