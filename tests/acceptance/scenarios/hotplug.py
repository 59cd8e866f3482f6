"""Boards come and go while the gateway runs, in a sandbox that admits serial lines only."""

import json

from guest import Trouble, until
from lab import status

CONFIG = """
gateway: greenhouse
ports:
  - {path: "/dev/serial/by-id/usb-*", format: json, device: bench}
"""

READING = "mosquitto_sub -t serialgate/greenhouse/bench/data -C 1 -W 60"


def _newest(guest):
    return json.loads(guest.sh(READING))["n"]


def _wait_for_state(guest, wanted):
    until(f"the port is {wanted}", lambda: [port["state"] for port in status(guest)["ports"]] == [wanted])


def a_board_plugged_in_after_the_start_is_read_and_comes_back_after_an_unplug(lab):
    guest = lab.gateway(config=CONFIG)
    # A boot of its own, so that nothing but modules-load.d has loaded the driver before the service starts.
    guest.reboot()
    guest.until("the service is active", "systemctl is-active --quiet serialgate")
    _wait_for_state(guest, "absent")
    guest.sh("test ! -e /dev/ttyUSB0")
    main_pid = guest.sh("systemctl show --property MainPID --value serialgate")

    lab.chatter(guest.plug("GW0001"))
    first = _newest(guest)
    _wait_for_state(guest, "open")
    for _ in range(3):
        guest.unplug("GW0001")
        _wait_for_state(guest, "absent")
        guest.replug("GW0001")
        again = _newest(guest)
        if again <= first:
            raise Trouble(f"{again} came after {first}")
        first = again
        _wait_for_state(guest, "open")
    if guest.sh("systemctl show --property MainPID --value serialgate") != main_pid:
        raise Trouble("the daemon was restarted")
    [port] = status(guest)["ports"]
    if port["disconnects"] != 3:
        raise Trouble(f"disconnects: {port}")


def a_board_that_is_there_at_boot_is_read(lab):
    guest = lab.gateway(config=CONFIG)
    lab.chatter(guest.plug("GW0002"))
    first = _newest(guest)
    guest.reboot()
    if _newest(guest) <= first:
        raise Trouble("old readings came")


def a_board_with_a_usb_port_of_its_own_is_read_and_comes_back(lab):
    guest = lab.gateway(config=CONFIG)
    guest.reboot()
    guest.until("the service is active", "systemctl is-active --quiet serialgate")
    guest.sh("modprobe dummy_hcd")
    last = 0
    for _ in range(2):
        guest.sh("modprobe g_serial use_acm=1 iSerialNumber=ACM1")
        guest.until("the board's side of it", "test -c /dev/ttyGS0 && stty -F /dev/ttyGS0 raw -echo")
        guest.sh(
            f"(n={last}; while sleep 0.1; do n=$((n + 1)); echo '{{\"n\":'$n'}}'; done) "
            "> /dev/ttyGS0 2> /dev/null & echo $! > /root/board"
        )
        newest = _newest(guest)
        if newest <= last:
            raise Trouble(f"{newest} came after {last}")
        last = newest + 10_000
        _wait_for_state(guest, "open")
        guest.sh("ls -l /dev/ttyACM0; kill $(cat /root/board)")
        guest.until("the board is unplugged", "modprobe -r g_serial")
        _wait_for_state(guest, "absent")
