"""A cloud: as much of an MQTT 5 broker as a gateway's bridge needs. It keeps what it acknowledges, in order.

Other tests try the bridge with brokers that people use. This one tells what was received before which
acknowledgement went out, and can be away.
"""

import socket
import struct
import threading

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14


class Cloud:
    """Listens on a port of its own while it is open. `received` holds (topic, payload, stamp) of every message.

    `stamp` is called before a message is acknowledged; what it returns is kept with it.
    """

    def __init__(self, stamp=lambda: None):
        self.stamp, self.received, self.lock = stamp, [], threading.Lock()
        # Keeps the port while nobody listens on it.
        self.place = bound(0)
        self.port = self.place.getsockname()[1]
        self.listener, self.links = None, []
        self.open()

    def open(self):
        self.listener = bound(self.port)
        self.listener.listen()
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def close(self):
        """Goes away in the middle of whatever is going on."""
        with self.lock:
            listener, links = self.listener, self.links
            self.listener, self.links = None, []
        if listener:
            # A thread that waits in accept() holds the listener open until it is shut down.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for link in links:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(self, listener):
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                if self.listener is not listener:
                    link.close()
                    return
                self.links.append(link)
            threading.Thread(target=self.serve, args=(link,), daemon=True).start()

    def serve(self, link):
        try:
            with link, link.makefile("rb") as stream:
                while self.packet(link, stream):
                    pass
        except OSError:
            pass

    def packet(self, link, stream):
        """Reads one packet and answers it. False at the end."""
        head = stream.read(1)
        if not head:
            return False
        kind, body = head[0] >> 4, exactly(stream, self.length(stream))
        if kind == CONNECT:
            link.sendall(bytes([CONNACK << 4, 3, 0, 0, 0]))
        elif kind == PUBLISH:
            self.publish(link, head[0], body)
        elif kind == SUBSCRIBE:
            link.sendall(bytes([SUBACK << 4, 4]) + body[:2] + bytes([0, 1]))
        elif kind == PINGREQ:
            link.sendall(bytes([PINGRESP << 4, 0]))
        return kind != DISCONNECT

    def publish(self, link, head, body):
        size = struct.unpack_from(">H", body)[0]
        topic, at, identifier = body[2 : 2 + size].decode(), 2 + size, b""
        if head & 0b0110:
            identifier, at = body[at : at + 2], at + 2
        properties, at = varint(body, at)
        with self.lock:
            if self.listener:
                self.received.append((topic, body[at + properties :].decode(), self.stamp()))
                if identifier:
                    link.sendall(bytes([PUBACK << 4, 2]) + identifier)

    @staticmethod
    def length(stream):
        value, shift = 0, 0
        while True:
            [byte] = exactly(stream, 1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def readings(self):
        """What came on `data` topics: (payload, stamp), in order."""
        with self.lock:
            return [(payload, stamp) for topic, payload, stamp in self.received if topic.endswith("/data")]


def bound(port):
    """A socket at a port of this machine's, or at any that is free."""
    fresh = socket.socket()
    fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    fresh.bind(("127.0.0.1", port))
    return fresh


def exactly(stream, size):
    """So many bytes. What a link that breaks leaves of a packet is none."""
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionError("the link ends within a packet")
    return data


def varint(data, at):
    """A length in MQTT's coding, and where it ends."""
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
