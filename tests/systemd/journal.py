"""Stands in for the journal in a mount namespace of its own: runs a program whose standard error is the
journal's, and prints what it logs, one JSON object of fields a line, until the named message came."""

import json
import os
import socket
import struct
import subprocess
import sys

until, *program = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
os.makedirs("/run/systemd/journal")
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
journal.settimeout(60)
stream = os.stat("/dev/null")
environment = dict(os.environ, JOURNAL_STREAM=f"{stream.st_dev}:{stream.st_ino}")
child = subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL)


def fields(data):
    """The journal's own format: KEY=value, or KEY, a length of eight bytes and the value."""
    found = {}
    while data:
        line, _, rest = data.partition(b"\n")
        key, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[8 + length + 1 :]
        found[key.decode()] = value.decode()
        data = rest
    return found


try:
    while True:
        entry = fields(journal.recv(1 << 16))
        if not entry:  # The program looks whether anybody is there.
            continue
        print(json.dumps(entry), flush=True)
        if entry["MESSAGE"] == until:
            break
finally:
    child.terminate()
    child.wait()
