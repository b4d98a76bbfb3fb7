"""Addresses: taking one to listen on, and how this machine reaches it."""

import socket


def bound(host: str, port: int) -> socket.socket:
    """A socket that has the address, not listening yet. OSError when it cannot be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    taken = socket.socket(family, kind, protocol)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen()  # of two that share an address only one may listen, and it is told here
    except OSError:
        taken.close()
        raise
    return taken


def url(host: str, port: int) -> str:
    """Where this machine reaches a gateway that listens there."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # read, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
