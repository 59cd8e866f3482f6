"""The package for 64-bit ARM, on an emulated Cortex-A53 with Debian's kernel."""

from backlog import check_delivery, check_reboot, wait_for_acknowledgements, with_backlog
from guest import Trouble


def on_arm64_a_board_is_read_a_daemon_that_hangs_is_replaced_and_a_backlog_outlives_a_reboot(lab):
    # To begin with, the service was restarted, which waits until it says READY.
    guest, cloud, ledger = with_backlog(lab, arch="arm64")
    if guest.sh("dpkg --print-architecture; uname -m").split() != ["arm64", "aarch64"]:
        raise Trouble("this is no arm64")
    reading = guest.sh("mosquitto_sub -t 'serialgate/greenhouse/+/data' -C 1 -W 60")
    if '"id":"0a0b0c0d-' not in reading:
        raise Trouble(f"no reading in: {reading}")

    guest.sh("systemctl kill --kill-whom=main --signal STOP serialgate")
    guest.until("the watchdog bites", "systemctl show --property NRestarts serialgate | grep -x NRestarts=1")
    guest.until("the daemon is back", "systemctl is-active --quiet serialgate")

    check_reboot(guest, ledger, 300)
    wait_for_acknowledgements(ledger, 100)
    cloud.open()
    return check_delivery(lab, guest, cloud, ledger)
