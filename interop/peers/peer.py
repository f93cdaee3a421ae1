"""A peer that sends and receives at once through the kernel's own sockets.

It knows nothing of the stack under test: an ordinary program that asks for IPPROTO_MPTCP. When both
directions are finished it writes one JSON object to standard output.
"""
import argparse
import hashlib
import json
import socket
import struct
import sys
import threading
import time

IPPROTO_MPTCP = 262
SOL_MPTCP = 284
MPTCP_INFO = 1
CHUNK = 1 << 16

parser = argparse.ArgumentParser()
parser.add_argument("--tcp", action="store_true", help="ask for plain TCP")
parser.add_argument("--congestion", metavar="NAME", help="congestion control of the kernel")
parser.add_argument("--mss", type=int, metavar="BYTES", help="segments of this size at most, options included")
parser.add_argument("--send", metavar="FILE", help="bytes to send")
parser.add_argument("--store", metavar="FILE", help="where received bytes go")
parser.add_argument("--endless", action="store_true", help="send again and again until standard input ends")
parser.add_argument("--rate", type=float, default=0, metavar="MBIT", help="send no faster than this")
parser.add_argument("--abort-after", type=int, default=-1, metavar="BYTES", help="receive this much, then close with SO_LINGER 0")
parser.add_argument("--wait", action="store_true", help="send nothing before standard input ends")
parser.add_argument("--hold", action="store_true", help="keep the connection until standard input ends")
parser.add_argument("--listen", type=int, metavar="PORT")
parser.add_argument("--connect", nargs=2, metavar=("ADDR", "PORT"))
parser.add_argument("--bind", metavar="ADDR", help="local address")
parser.add_argument("--six", action="store_true", help="listen on IPv6")
options = parser.parse_args()

report = {"sent": 0, "received": 0, "sha256": None, "multipath": None, "tcp": None, "error": None}


def open_connection():
    protocol = socket.IPPROTO_TCP if options.tcp else IPPROTO_MPTCP
    six = options.six or (options.connect and ":" in options.connect[0])
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options.congestion:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, options.congestion.encode())
    if options.mss:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, options.mss)
    if options.listen:
        sock.bind((options.bind or ("::" if six else "0.0.0.0"), options.listen))
        sock.listen(8)
        print("peer: listening", file=sys.stderr, flush=True)
        # The listener stays: joins of more subflows are addressed to it.
        options.listener = sock
        connection, _ = sock.accept()
        print("peer: connected", file=sys.stderr, flush=True)
        return connection
    if options.bind:
        sock.bind((options.bind, 0))
    sock.connect((options.connect[0], int(options.connect[1])))
    print("peer: connected", file=sys.stderr, flush=True)
    return sock


def is_multipath(sock):
    """Whether the connection still is multipath: MPTCP_INFO is refused after a fallback."""
    if options.tcp:
        return False
    try:
        sock.getsockopt(SOL_MPTCP, MPTCP_INFO, 64)
        return True
    except OSError:
        return False


def tcp_state(sock):
    """What the kernel says of a connection of plain TCP: struct tcp_info of linux/tcp.h, and its congestion control."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    agreed = info[5]
    names = ("timestamps", "sack", "window_scale", "ecn", "ecn_seen")
    state = {name: bool(agreed & (1 << bit)) for bit, name in enumerate(names)}
    state["retransmissions"] = struct.unpack_from("=I", info, 100)[0]
    state["congestion"] = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
    return state


def send(sock):
    if options.wait:
        sys.stdin.read()
    start = time.monotonic()
    ended = threading.Event()
    if options.endless:
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    with open(options.send or "/dev/null", "rb") as source:
        while True:
            while chunk := source.read(CHUNK):
                sock.sendall(chunk)
                report["sent"] += len(chunk)
                if options.rate:
                    due = report["sent"] * 8 / (options.rate * 1e6)
                    time.sleep(max(0, due - (time.monotonic() - start)))
            if not options.endless or ended.is_set():
                break
            source.seek(0)
    if options.hold:
        sys.stdin.read()
    sock.shutdown(socket.SHUT_WR)


def receive(sock):
    digest = hashlib.sha256()
    with open(options.store or "/dev/null", "wb") as sink:
        while chunk := sock.recv(CHUNK):
            digest.update(chunk)
            sink.write(chunk)
            report["received"] += len(chunk)
            if 0 <= options.abort_after <= report["received"]:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
                break
    report["sha256"] = digest.hexdigest()


def guarded(work, sock):
    def body():
        try:
            work(sock)
        except OSError as error:
            report["error"] = report["error"] or f"{work.__name__}: {error}"
    return body


sock = open_connection()
workers = [threading.Thread(target=guarded(work, sock), daemon=True) for work in (send, receive)]
for worker in workers:
    worker.start()
for worker in workers[::-1] if options.abort_after < 0 else workers[1:]:
    worker.join()
if options.abort_after < 0:
    report["multipath"] = is_multipath(sock)
    report["tcp"] = tcp_state(sock) if options.tcp else None
    sock.close()
print(json.dumps(report), flush=True)
sys.exit(1 if report["error"] else 0)
