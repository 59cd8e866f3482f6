"""Sensor readings over a serial line, to a Serialgate gateway.

    from machine import UART
    import serialgate

    link = serialgate.Link(UART(0, 115200), "greenhouse 1.0")
    temp = link.channel("temp", "Cel", 2)      # two decimals

    while True:
        link.poll()
        if link.every(10000):
            temp.send(read_temperature())

One file, for MicroPython and CircuitPython-like boards; it runs on any Python 3 as well, where `uart` is
anything with read() and write(). Nothing here waits, as long as the UART's write() does not: give it a
`txbuf`. The protocol: PROTOCOL.md. Licence: Apache-2.0.
"""

import binascii
import os
import struct
import time

GAUGE, COUNTER, STATE, EVENT = 0, 1, 2, 3
OK, UNKNOWN, REFUSED = 0, 1, 2
OWN = 16  # the first of the commands that are the program's own

_HELLO, _DATA, _DESCRIBE, _RESULT, _LOG = 1, 2, 3, 4, 5
_ACK, _HELLO_REQ, _DESCRIBE_REQ, _CALL = 0x21, 0x22, 0x23, 0x24
_OLDEST = _REWIND = 1
_NONE, _BOOL, _I16, _I32, _I64, _TEXT = 0, 1, 3, 4, 5, 0xC
_SIZES = {2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 2, 8: 4, 9: 8, 0xA: 4, 0xB: 8}
_CODES = {2: "<b", 3: "<h", 4: "<i", 5: "<q", 6: "<B", 7: "<H", 8: "<I", 9: "<Q", 0xA: "<f", 0xB: "<d"}
_UNREADABLE, _RANGE = 1, 2
_RX_MAX = 254
_HELLO_SEARCHING_MS, _HELLO_HEARTBEAT_MS = 5000, 60000
_RTO_MIN_MS, _RTO_MAX_MS = 1000, 32000
_WAITING_MAX = 512  # bytes that wait to be written


def _crc32_slow(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


_crc32 = getattr(binascii, "crc32", _crc32_slow)


def _text(text):
    data = text.encode() if isinstance(text, str) else bytes(text)
    return bytes([len(data)]) + data


def encode(kind, flags, boot, seq, payload=b""):
    """A frame with both its delimiters."""
    raw = struct.pack("<BBBH", 0x40 | kind, flags, boot & 0xFF, seq & 0xFFFF) + payload
    raw += struct.pack("<I", _crc32(raw) & 0xFFFFFFFF)
    if len(raw) > 254:
        raise ValueError("frame of %d bytes" % len(raw))
    wire = bytearray(b"\0")
    for block in raw.split(b"\0"):
        wire.append(len(block) + 1)
        wire += block
    wire.append(0)
    return bytes(wire)


def decode(chunk):
    """What stands between two zeros: (kind, flags, boot8, seq, payload), or None."""
    raw = bytearray(chunk)
    at = 0
    while at < len(raw):
        code = raw[at]
        raw[at] = 0
        at += code
    raw = bytes(raw[1:])
    if at != len(chunk) or len(raw) < 9 or raw[0] & 0xC0 != 0x40:
        return None
    if _crc32(raw[:-4]) & 0xFFFFFFFF != struct.unpack("<I", raw[-4:])[0]:
        return None
    kind, flags, boot8, seq = struct.unpack("<BBBH", raw[:5])
    return kind & 0x3F, flags, boot8, seq, raw[5:-4]


def _items(data):
    """Channel and value of each item; ValueError where they are malformed."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise ValueError("cut off")
        channel, form = data[at], data[at + 1]
        kind, low = form >> 4, form & 15
        at += 2
        if kind == _NONE:
            yield channel, None
            continue
        if kind == _BOOL:
            yield channel, bool(low)
            continue
        if kind in _SIZES:
            size = _SIZES[kind]
        elif kind in (_TEXT, _TEXT + 1) and at < len(data):
            size = data[at]
            at += 1
        else:
            raise ValueError("unknown format")
        part = data[at:at + size]
        if len(part) < size:
            raise ValueError("cut off")
        at += size
        if kind == _TEXT:
            yield channel, part.decode()
        elif kind in _CODES:
            value = struct.unpack(_CODES[kind], part)[0]
            power = low - 16 if low & 8 else low
            yield channel, value if power == 0 or kind >= 0xA else value * 10 ** power
        else:
            yield channel, part


class Channel:
    """One quantity. Made by Link.channel()."""

    def __init__(self, link, number, name, unit, decimals, kind, on_set):
        self._link = link
        self._number = number
        self._decimals = decimals
        self._name = name
        self._on_set = on_set
        self._described = bytes([number, _I16 << 4 | -decimals & 15, kind | (0x80 if on_set else 0)])
        self._described += _text(unit) + _text(name)

    def put(self, value):
        """Adds a value to the reading that link.send() ends. None: there was nothing to read."""
        self._link._open += bytes([self._number]) + self._item(value)

    def send(self, value):
        """A reading of this value alone."""
        self.put(value)
        return self._link.send()

    def _item(self, value):
        if value is None or value != value:
            return bytes([_UNREADABLE])
        if isinstance(value, bool):
            return bytes([_BOOL << 4 | value])
        if isinstance(value, str):
            return bytes([_TEXT << 4]) + _text(value)
        try:
            # Half a step is rounded away from zero.
            steps = value * 10 ** self._decimals
            steps = int(steps + 0.5 if steps > 0 else steps - 0.5) if isinstance(steps, float) else steps
        except OverflowError:
            return bytes([_RANGE])
        for kind, limit in ((_I16, 1 << 15), (_I32, 1 << 31), (_I64, 1 << 63)):
            if -limit <= steps < limit:
                return bytes([kind << 4 | -self._decimals & 15]) + struct.pack(_CODES[kind], steps)
        return bytes([_RANGE])


class Link:
    """The link to the gateway. `readings` is how many are held until it has them.

    on_command(command, arguments) is asked for the commands OWN to 255, and gives a status, or a status and
    a whole number. `uid` and `boot` are the chip's number and a random one unless they are given.
    """

    def __init__(self, uart, firmware, readings=200, on_command=None, uid=None, boot=None):
        self._uart = uart
        self._firmware = firmware
        self._most = readings
        self._on_command = on_command
        self._uid = uid or _unique_id()
        self._boot = int.from_bytes(os.urandom(4), "little") if boot is None else boot
        self._channels = []
        self._ring = []  # (time, items)
        self._oldest = 0
        self.dropped = 0
        self._open = b""
        self._sent = 0
        self._rto = 0  # 0: not probing
        self._data_at = 0
        self._hello_at = 0
        self._heard = False
        self._last_call = None
        self._reboots = False
        self._chunk = bytearray()
        self._out = b""
        self._ticks = _ticks()
        self._uptime = 0
        self._interval = None
        self._last = None

    def channel(self, name, unit="", decimals=0, kind=GAUGE, on_set=None):
        """Adds a channel. on_set(value) tells whether it did what it was asked for."""
        channel = Channel(self, len(self._channels), name, unit, decimals, kind, on_set)
        self._channels.append(channel)
        return channel

    def send(self):
        """Ends a reading. False: nothing was put, or there is no room for it in a frame."""
        items, self._open = self._open, b""
        if not items or len(items) > 241:
            return False
        while len(self._ring) >= self._most:
            self._pop()
            self.dropped += 1
        self._ring.append((self.uptime(), items))
        return True

    def log(self, text):
        """A line for the device's log. False: no room right now."""
        if len(self._out) > _WAITING_MAX:
            return False
        self._say(_LOG, payload=text.encode()[:200])
        return True

    def every(self, milliseconds):
        """Whether it is time to measure again. The gateway can ask for another interval."""
        interval = self._interval or milliseconds
        now = self.uptime()
        if self._last is not None and now - self._last < interval:
            return False
        late = self._last is None or now - self._last >= 2 * interval
        self._last = now if late else self._last + interval
        return True

    def connected(self):
        """Whether the gateway acknowledges what is sent."""
        return self._heard and self._rto == 0

    def held(self):
        """How many readings the gateway does not have yet."""
        return len(self._ring)

    def uptime(self):
        """Milliseconds since the link began."""
        now = _ticks()
        self._uptime += _ticks_diff(now, self._ticks)
        self._ticks = now
        return self._uptime

    def poll(self):
        """Sends and receives what there is. To be called often."""
        self._receive(self._uart.read() or b"")
        now = self.uptime()
        if now >= self._hello_at:
            self._hello(now)
        while len(self._out) < _WAITING_MAX and self._next_data(now):
            pass
        if self._out:
            written = self._uart.write(self._out)
            self._out = self._out[written or 0:]
        if self._reboots and not self._out:
            _reset()

    def _say(self, kind, flags=0, seq=0, payload=b""):
        self._out += encode(kind, flags, self._boot, seq, payload)

    def _hello(self, now):
        self._hello_at = now + (_HELLO_HEARTBEAT_MS if self._heard else _HELLO_SEARCHING_MS)
        schema = 0
        for channel in self._channels:
            schema = _crc32(channel._described, schema)
        until = self._oldest + len(self._ring)
        numbers = (self._boot, now & 0xFFFFFFFF, self._oldest, until, self.dropped)
        payload = struct.pack("<BBIIIII", 0, 3, *numbers)
        payload += struct.pack("<BBI", _RX_MAX, len(self._channels), schema & 0xFFFFFFFF)
        self._say(_HELLO, payload=payload + _text(self._uid) + _text(self._firmware))

    def _next_data(self, now):
        if self._rto == 0 and self._sent > 0 and now >= self._data_at:
            self._rto = _RTO_MIN_MS
        index = 0 if self._rto else self._sent
        if index >= len(self._ring) or (self._rto and now < self._data_at):
            return False
        taken, items = self._ring[index]
        payload = struct.pack("<I", taken & 0xFFFFFFFF) + items
        self._say(_DATA, 0 if index else _OLDEST, self._oldest + index, payload)
        if self._rto:
            self._rto = min(2 * self._rto, _RTO_MAX_MS)
        if index == 0:
            self._data_at = now + (self._rto or _RTO_MIN_MS)
        self._sent = max(self._sent, index + 1)
        return True

    def _pop(self):
        self._ring.pop(0)
        self._oldest += 1
        self._sent = max(self._sent - 1, 0)

    def _receive(self, data):
        for byte in data:
            if byte:
                if len(self._chunk) <= _RX_MAX + 1:
                    self._chunk.append(byte)
                continue
            frame = decode(self._chunk) if self._chunk else None
            self._chunk = bytearray()
            if frame:
                self._understand(*frame)

    def _understand(self, kind, flags, boot8, seq, payload):
        if kind == _ACK and boot8 == self._boot & 0xFF:
            self._acknowledge(seq, bool(flags & _REWIND))
        elif kind == _HELLO_REQ:
            self._hello_at = self.uptime()
            if self._rto:
                self._rto, self._data_at = _RTO_MIN_MS, self._hello_at
        elif kind == _DESCRIBE_REQ and payload and payload[0] < len(self._channels):
            self._say(_DESCRIBE, seq=seq, payload=self._channels[payload[0]]._described)
        elif kind == _CALL and payload:
            if self._last_call is None or self._last_call[0] != seq:
                self._last_call = (seq, self._call(payload[0], payload[1:]))
            self._say(_RESULT, seq=seq, payload=self._last_call[1])

    def _acknowledge(self, seq, rewind):
        ahead = (seq - self._oldest) & 0xFFFF
        if ahead > len(self._ring):
            if not rewind:
                return
            ahead = 0
        for _ in range(ahead):
            self._pop()
        if rewind:
            self._sent = 0
        if ahead or rewind or self._rto:
            self._rto = 0
            self._data_at = self.uptime() + _RTO_MIN_MS
        self._heard = True

    def _call(self, command, arguments):
        if command == 0:
            return bytes([self._set(arguments)])
        if command == 1:
            self._reboots = True
            return bytes([OK])
        if command == 2:
            interval = struct.unpack("<I", arguments[:4])[0] if len(arguments) >= 4 else 0
            self._interval = interval or self._interval
            return bytes([OK if interval else REFUSED])
        if command < OWN or self._on_command is None:
            return bytes([UNKNOWN])
        answer = self._on_command(command, arguments)
        if isinstance(answer, int):
            return bytes([answer])
        return struct.pack("<BBBi", answer[0], 0, _I32 << 4, answer[1])

    def _set(self, arguments):
        try:
            for number, value in _items(arguments):
                channel = self._channels[number]
                if not channel._on_set or not channel._on_set(value):
                    return REFUSED
        except (ValueError, IndexError):
            return REFUSED
        return OK


def _unique_id():
    try:
        import machine
        return machine.unique_id()
    except ImportError:
        raise ValueError("this board tells no number of its own: Link(..., uid=b'...')")


def _reset():
    import machine
    machine.reset()


if hasattr(time, "ticks_ms"):
    _ticks, _ticks_diff = time.ticks_ms, time.ticks_diff
else:
    def _ticks():
        return int(time.monotonic() * 1000)

    def _ticks_diff(after, before):
        return after - before
