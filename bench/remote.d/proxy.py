"""A TCP proxy before an object store, that cuts, stalls, refuses, corrupts, fills up, delays and counts.

Owns what happens to bytes on the way. It follows HTTP/1.1 as far as needed to know where a request begins and what it asks for; whoever is connected
keeps the fault that stood when he connected, so a case takes a client of its own.
"""

import dataclasses
import socket
import threading
import time

PIECE = 1 << 16


@dataclasses.dataclass
class Fault:
    """What goes wrong. `where` a request is (`put`, `get`, ... and a part of its path), else of all; `first`: only for so many of them."""

    how: str = "none"  # cut-up, cut-down, stall, refuse, flip, full, slow, none
    after: int = 0  # Bytes of a body.
    verb: str = ""
    path: str = ""
    first: int = 1 << 30
    latency: float = 0.0  # Seconds a request, and a connection.
    rate: float = 0.0  # Bytes a second, each way of a connection; 0: as fast as it goes.


@dataclasses.dataclass
class Seen:
    verb: str
    path: str
    status: int = 0
    up: int = 0
    down: int = 0


class Straight:
    """No proxy: nobody stands before a folder."""

    port = 0

    def set(self, **_nothing):
        pass


class Proxy:
    def __init__(self, target):
        """`target`: the port of a server on this machine."""
        self.target, self.fault, self.seen, self.struck = target, Fault(), [], 0
        self.lock, self.open = threading.Lock(), set()
        self.listen()

    def listen(self, port=0):
        self.socket = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.socket,), daemon=True).start()

    def set(self, **fault):
        """What goes wrong from now on, and nothing counted yet."""
        with self.lock:
            self.fault, self.seen, self.struck = Fault(**fault), [], 0

    def gone(self):
        """Nobody listens any more: connections are refused."""
        self.close()

    def back(self):
        self.listen(self.port)

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        for one in list(self.open):
            drop(one)

    def accept(self, listening):
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=Connection(self, client).go, daemon=True).start()

    def counted(self):
        """Requests by verb, and bytes each way."""
        with self.lock:
            seen = list(self.seen)
        verbs = {}
        for one in seen:
            verbs[one.verb] = verbs.get(one.verb, 0) + 1
        return {"requests": len(seen), **dict(sorted(verbs.items())), "up": sum(s.up for s in seen), "down": sum(s.down for s in seen)}


class Cut(Exception):
    """This connection is over."""


class Connection:
    """One client: requests one after the other, each answered before the next."""

    def __init__(self, proxy, client):
        self.proxy, self.fault, self.client = proxy, proxy.fault, client
        self.server = None

    def go(self):
        try:
            self.proxy.open.add(self.client)
            if self.fault.how == "refuse":
                return
            if self.fault.how == "stall" and not self.fault.verb and not self.fault.path:
                time.sleep(600)
            self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.server = socket.create_connection(("127.0.0.1", self.proxy.target))
            self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.proxy.open.add(self.server)
            time.sleep(self.fault.latency)
            up, down = Stream(self.client), Stream(self.server)
            while self.request(up, down):
                pass
        except (Cut, OSError, ValueError):
            pass
        finally:
            for one in (self.client, self.server):
                if one:
                    self.proxy.open.discard(one)
                    drop(one)

    def request(self, up, down):
        head = up.head()
        if not head:
            return False
        verb, path = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")[:2]
        seen = Seen(verb.lower(), path)
        with self.proxy.lock:
            self.proxy.seen.append(seen)
        fault = self.meets(seen)
        time.sleep(self.fault.latency)
        if fault.how == "stall":
            time.sleep(600)
        if fault.how == "full" and verb in ("PUT", "POST"):
            return self.full(seen, up, head)
        self.server.sendall(head)
        seen.up += len(head)
        self.body(up, length(head), self.server, fault if fault.how == "cut-up" else Fault(rate=self.fault.rate), seen, "up")
        answer = down.head()
        # An announcement that the real answer follows.
        while answer.startswith(b"HTTP/1.1 100"):
            self.client.sendall(answer)
            answer = down.head()
        if not answer:
            raise Cut
        seen.status = int(answer.split(b" ", 2)[1])
        if fault.how == "lost":
            raise Cut
        self.client.sendall(answer)
        seen.down += len(answer)
        bare = verb == "HEAD" or seen.status in (204, 304)
        size = 0 if bare else length(answer)
        last = {"cut-down", "flip"} & {fault.how} and fault or Fault(rate=self.fault.rate)
        self.body(down, size, self.client, last, seen, "down")
        return b"connection: close" not in answer.lower()

    def meets(self, seen):
        """The fault, if it is for this request."""
        fault = self.fault
        if fault.verb and fault.verb != seen.verb or fault.path not in seen.path:
            return Fault(latency=fault.latency, rate=fault.rate)
        with self.proxy.lock:
            self.proxy.struck += 1
            if self.proxy.struck > fault.first:
                return Fault(latency=fault.latency, rate=fault.rate)
        return fault

    def full(self, seen, up, head):
        for piece in up.body(length(head)):
            seen.up += len(piece)
        seen.status = 507
        text = b"<Error><Code>InsufficientStorage</Code><Message>there is no room left</Message></Error>"
        self.client.sendall(b"HTTP/1.1 507 Insufficient Storage\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
        return True

    def body(self, source, size, target, fault, seen, way):
        """`size`: bytes, or -1 where it is sent in chunks."""
        sent = 0
        for piece in source.body(size):
            if fault.how.startswith("cut") and sent + len(piece) > fault.after:
                target.sendall(piece[: fault.after - sent])
                raise Cut
            if fault.how == "flip" and sent <= fault.after < sent + len(piece):
                at = fault.after - sent
                piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
            target.sendall(piece)
            sent += len(piece)
            setattr(seen, way, getattr(seen, way) + len(piece))
            if fault.rate:
                time.sleep(len(piece) / fault.rate)
        if fault.how.startswith("cut") and size != 0 and sent <= fault.after:
            raise Cut


class Stream:
    """What is read of a socket and not yet passed on."""

    def __init__(self, source):
        self.source, self.left = source, b""

    def more(self):
        piece = self.source.recv(PIECE)
        self.left += piece
        return bool(piece)

    def head(self):
        """With the empty line; nothing at the end."""
        while b"\r\n\r\n" not in self.left:
            if not self.more():
                return b""
        head, _, self.left = self.left.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def body(self, size):
        if size < 0:
            yield from self.chunks()
            return
        while size > 0:
            if not self.left and not self.more():
                raise Cut
            piece, self.left = self.left[:size], self.left[size:]
            size -= len(piece)
            yield piece

    def chunks(self):
        while True:
            while b"\r\n" not in self.left:
                if not self.more():
                    raise Cut
            line, _, self.left = self.left.partition(b"\r\n")
            yield line + b"\r\n"
            size = int(line.split(b";")[0], 16)
            yield from self.body(size + 2)
            if size == 0:
                return


def length(head):
    lines = head.decode("latin-1").lower().split("\r\n")[1:]
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    if "chunked" in fields.get("transfer-encoding", ""):
        return -1
    return int(fields.get("content-length", "0").strip())


def drop(one):
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()
