"""The machine goes down with a backlog."""

from backlog import check_delivery, wait_for_acknowledgements, with_backlog
from guest import Trouble
from lab import queued


def a_backlog_is_there_after_a_reboot(lab):
    guest, cloud, ledger = with_backlog(lab)
    wait_for_acknowledgements(ledger, 500)
    before = queued(guest)
    guest.reboot()
    if queued(guest) < before:
        raise Trouble(f"{before} waited before the reboot, {queued(guest)} after it")
    wait_for_acknowledgements(ledger, 200)
    cloud.open()
    return check_delivery(lab, guest, cloud, ledger)
