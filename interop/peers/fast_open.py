"""A peer that uses TCP Fast Open through the kernel's own sockets: connections in a row, each with a message and its echo.

When all are over it writes one JSON object to standard output.
"""
import argparse
import json
import socket
import sys

IPPROTO_MPTCP = 262
SOL_MPTCP = 284
MPTCP_INFO = 1
TCP_FASTOPEN = 23
MSG_FASTOPEN = 0x20000000
PATIENCE = 20

parser = argparse.ArgumentParser()
parser.add_argument("--tcp", action="store_true", help="ask for plain TCP")
parser.add_argument("--listen", type=int, metavar="PORT")
parser.add_argument("--connect", nargs=2, metavar=("ADDR", "PORT"))
parser.add_argument("--count", type=int, required=True, help="connections")
parser.add_argument("--message", type=int, default=0, metavar="BYTES", help="what a client sends")
options = parser.parse_args()


def open_socket():
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP if options.tcp else IPPROTO_MPTCP)
    return sock


def is_multipath(sock):
    """Whether the connection still is multipath: MPTCP_INFO is refused after a fallback."""
    try:
        sock.getsockopt(SOL_MPTCP, MPTCP_INFO, 64)
        return True
    except OSError:
        return False


def read_all(sock):
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


multipath = []
intact = True
if options.listen:
    listener = open_socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
    listener.bind(("0.0.0.0", options.listen))
    listener.listen(8)
    listener.settimeout(PATIENCE)
    print("peer: listening", file=sys.stderr, flush=True)
    for _ in range(options.count):
        connection, _ = listener.accept()
        connection.settimeout(PATIENCE)
        message = read_all(connection)
        multipath.append(is_multipath(connection))
        connection.sendall(message)
        connection.close()
else:
    message = bytes(number % 251 for number in range(options.message))
    for _ in range(options.count):
        sock = open_socket()
        sent = sock.sendto(message, MSG_FASTOPEN, (options.connect[0], int(options.connect[1])))
        # Not before: with a timeout the socket does not wait for the handshake, and the first data gets an error.
        sock.settimeout(PATIENCE)
        sock.sendall(message[sent:])
        sock.shutdown(socket.SHUT_WR)
        intact = intact and read_all(sock) == message
        multipath.append(is_multipath(sock))
        sock.close()
print(json.dumps({"multipath": multipath, "intact": intact}), flush=True)
