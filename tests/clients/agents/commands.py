"""What both clients in Python share: commands come as JSON lines on standard input, answers and
messages go to standard output. The commands are described in tests/clients/agent.rs."""

import json
import sys
import threading

_lock = threading.Lock()


def say(**line):
    """Writes one line; threads may do so at the same time."""
    text = json.dumps(line)
    with _lock:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def message(client, topic, payload, qos, retain, dup, properties):
    """Tells of a message that came."""
    try:
        content = {"payload": payload.decode()}
    except UnicodeDecodeError:
        content = {"hex": payload.hex()}
    known = {name: value for name, value in properties.items() if value is not None}
    line = {"topic": topic, "qos": qos, "retain": bool(retain), "dup": bool(dup), "properties": known}
    say(client=client, message={**content, **line})


def payload(order):
    """The payload that an order asks for."""
    if "fill" in order:
        return "x" * order["fill"]
    if "hex" in order:
        return bytes.fromhex(order["hex"])
    return order.get("payload", "")
