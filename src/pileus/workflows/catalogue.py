"""Every workflow there is: importing a module registers what it defines."""

import importlib
import pkgutil

import pileus.workflows as package


def load() -> None:
    """Import every module of this package; repeatable."""
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
