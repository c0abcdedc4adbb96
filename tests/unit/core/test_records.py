"""No record is forgotten by the module that migrations read."""

import subprocess
import sys

CHECK = """
import pileus.core.records
from pileus.store import REGISTRY
known = set(REGISTRY.layouts)
import importlib, pkgutil, pileus.core
for module in pkgutil.walk_packages(pileus.core.__path__, "pileus.core."):
    importlib.import_module(module.name)
print(",".join(sorted(set(REGISTRY.layouts) - known)))
"""


def test_every_record_is_in_the_list_that_migrations_read() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
