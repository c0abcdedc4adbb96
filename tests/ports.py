"""Ports of this machine for servers that tests start."""

import socket

_given: set[int] = set()


def free_port() -> int:
    """One on which nobody listens, and that this process has not had before: it may ask for several before it uses one."""
    while True:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = int(taken.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port
