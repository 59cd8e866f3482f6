"""The package for 64-bit ARM, on an emulated Cortex-A53 with Debian's kernel."""

from backlog import check_delivery, wait_for_acknowledgements, with_backlog
from guest import Trouble
from lab import queued


def on_arm64_a_board_is_read_and_its_backlog_is_there_after_a_reboot(lab):
    guest, cloud, ledger = with_backlog(lab, arch="arm64")
    if guest.sh("dpkg --print-architecture; uname -m").split() != ["arm64", "aarch64"]:
        raise Trouble("this is no arm64")
    reading = guest.sh("mosquitto_sub -t 'serialgate/greenhouse/+/data' -C 1 -W 60")
    if '"id":"0a0b0c0d-' not in reading:
        raise Trouble(f"no reading in: {reading}")
    wait_for_acknowledgements(ledger, 300)
    before = queued(guest)
    guest.reboot()
    if queued(guest) < before:
        raise Trouble(f"{before} waited before the reboot, {queued(guest)} after it")
    wait_for_acknowledgements(ledger, 100)
    cloud.open()
    return check_delivery(lab, guest, cloud, ledger)
