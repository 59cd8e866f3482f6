"""The library for MicroPython on this machine, for tests.

    micropython.py vectors FILE    compares what it encodes and decodes with the shared vectors
    micropython.py board LINK      is a board on a pseudo-terminal, to which LINK then leads

The board's `n` rises by one with each reading, five times a second. It ends with standard input.
"""

import os
import pty
import select
import sys
import tty

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../firmware/micropython"))

import serialgate  # noqa: E402


class Port:
    """A UART as MicroPython has it: read() and write() never wait."""

    def __init__(self, link):
        self._fd, far_end = pty.openpty()
        tty.setraw(far_end)
        os.set_blocking(self._fd, False)
        os.symlink(os.ttyname(far_end), link)

    def read(self):
        try:
            return os.read(self._fd, 4096)
        except BlockingIOError:
            return None

    def write(self, data):
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return None


def board(path):
    link = serialgate.Link(Port(path), "python 1.0", uid=b"python-1")
    number = link.channel("n", "1", 0, serialgate.COUNTER)
    half = link.channel("half", "V", 1)
    made = 0
    while True:
        link.poll()
        if link.every(200):
            number.put(made)
            half.put(made / 2)
            link.send()
            made += 1
        if select.select([sys.stdin], [], [], 0.005)[0] and not os.read(0, 1):
            return


def vectors(path):
    with open(path) as file:
        lines = [line[4:].strip() for line in file if line.startswith("hex ")]
    for line in lines:
        wire = bytes.fromhex(line)
        kind, flags, boot8, seq, payload = serialgate.decode(wire[1:-1])
        assert serialgate.encode(kind, flags, boot8, seq, payload) == wire, line
        for bit in range(8, 8 * len(wire) - 8):
            damaged = bytearray(wire)
            damaged[bit // 8] ^= 1 << bit % 8
            assert all(serialgate.decode(chunk) is None for chunk in damaged.split(b"\0") if chunk), line
    assert serialgate._crc32_slow(b"123456789") == 0xCBF43926
    print(len(lines), "vectors")


{"vectors": vectors, "board": board}[sys.argv[1]](sys.argv[2])
