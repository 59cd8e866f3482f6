"""A board that keeps what is not acknowledged, a gateway whose cloud is away, and the comparison at the end."""

import json

from guest import Trouble, until
from lab import HOST, queued, status

CONFIG = """
gateway: greenhouse
ports:
  - {{path: "/dev/serial/by-id/usb-*", format: wire}}
bridges:
  - {{name: cloud, url: "mqtt://{host}:{port}"}}
"""


def ids_at(cloud):
    """The ids of the readings that the cloud has, as they came."""
    return [json.loads(payload)["id"] for payload, _ in cloud.readings()]


def wait_for_acknowledgements(ledger, many):
    """Waits until `many` more readings are acknowledged to the board."""
    ledger.read()
    wanted = len(ledger.acknowledged) + many

    def there():
        ledger.read()
        return len(ledger.acknowledged) >= wanted

    until(f"{many} acknowledgements", there, 300)


def check_reboot(guest, ledger, many):
    """Reboots with `many` more readings that wait, and looks whether they do so afterwards."""
    wait_for_acknowledgements(ledger, many)
    before = queued(guest)
    guest.reboot()
    if queued(guest) < before:
        raise Trouble(f"{before} waited before the reboot, {queued(guest)} after it")


def check_nothing_dropped(guest):
    dropped = status(guest)["queue"]["dropped"]
    if any(dropped.values()):
        raise Trouble(f"dropped: {dropped}")


def check_delivery(lab, guest, cloud, ledger):
    """Ends the board, waits for all that waits, and compares."""
    [board] = lab.processes
    # Killed, it takes no more readings; what was acknowledged is the gateway's now.
    board.kill()
    board.wait()
    ledger.read()
    until("the backlog is delivered", lambda: queued(guest) == 0, 300)
    delivered = ids_at(cloud)
    missing = set(ledger.acknowledged) - set(delivered)
    if missing:
        all_of_them = len(ledger.acknowledged)
        raise Trouble(f"{len(missing)} of {all_of_them} acknowledged readings are missing: {sorted(missing)[:5]}")
    check_nothing_dropped(guest)
    firsts = list(dict.fromkeys(delivered))
    place = {reading: at for at, reading in enumerate(ledger.produced)}
    if firsts != sorted(firsts, key=place.__getitem__):
        raise Trouble("the order is not the board's")
    return f"{len(ledger.acknowledged)} acknowledged, {len(firsts)} delivered, {len(delivered) - len(firsts)} twice"


def with_backlog(lab, arch="amd64", deb=None):
    """A gateway with a board and a cloud that is away."""
    cloud = lab.cloud()
    cloud.close()
    guest = lab.gateway(arch, config=CONFIG.format(host=HOST, port=cloud.port), deb=deb)
    ledger = lab.wire_board(guest, "GW0003", rate=20)
    return guest, cloud, ledger
