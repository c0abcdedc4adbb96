"""What an image file really is, judged by its content and never by its name or by what its sender says."""

from pileus.drivers.volume.inspection.content import Content
from pileus.drivers.volume.inspection.detect import DRIVERS, detect

__all__ = ["DRIVERS", "Content", "detect"]
