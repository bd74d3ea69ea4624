"""The reference for the endpoint: a minimal server that reads once, sends fixed bytes and closes the connection.

`python -m benchmarks.bare_server` prints its port.
"""

import json
import socket

_CREDENTIALS = {
    "AccessKeyId": f"ASIA{0:016d}",
    "SecretAccessKey": "s" * 40,
    "Token": "t" * 960,
    "Expiration": "2099-01-01T00:00:00Z",
    "AccountId": "123456789012",
}


def main() -> None:
    """Serve until the process is killed."""
    body = json.dumps(_CREDENTIALS).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listening.getsockname()[1], flush=True)
    while True:
        connection, _ = listening.accept()
        with connection:
            connection.recv(8192)
            connection.sendall(head + body)


if __name__ == "__main__":
    main()
