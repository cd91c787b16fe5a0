"""A way to PostgreSQL on which a reply gets lost."""

import socket
from contextlib import suppress
from threading import Thread
from urllib.parse import urlsplit

# ReadyForQuery, and no transaction is open: what was asked before is committed.
_DONE = b"Z\x00\x00\x00\x05I"


class Relay:
    """Passes connections on to a server. The reply to the first statement that names `function` is lost
    with its connection, but only when the statement is committed.

    Args:
        url: of the database.
        function: as it stands in the statement.
        ends: whether nobody gets a connection any more once the reply was lost.
    """

    def __init__(self, url: str, function: str, *, ends: bool = False) -> None:
        self._parts = urlsplit(url)
        self._function = function.encode()
        self._ends = ends
        self._losing: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = url.replace(f":{self._parts.port}/", f":{port}/")
        # The statements that named the function, as they came.
        self.asked: list[bytes] = []
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Who waits in accept would not be woken up by closing alone.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((self._parts.hostname, self._parts.port))
                Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                Thread(target=self._pass_back, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(65536):
                if self._function in piece:
                    if not self.asked:
                        self._losing = server
                    self.asked.append(piece)
                server.sendall(piece)
        _end(client, server)

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        reply = b""
        with suppress(OSError):
            while piece := server.recv(65536):
                if server is not self._losing:
                    client.sendall(piece)
                    continue
                reply += piece
                if reply.endswith(_DONE):
                    if self._ends:
                        self.close()
                    break
        _end(client, server)


def _end(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
