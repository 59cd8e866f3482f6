"""The machine goes down with a backlog, in order or not."""

from backlog import check_delivery, check_reboot, wait_for_acknowledgements, with_backlog


def a_backlog_is_there_after_a_reboot(lab):
    guest, cloud, ledger = with_backlog(lab)
    check_reboot(guest, ledger, 500)
    wait_for_acknowledgements(ledger, 200)
    cloud.open()
    return check_delivery(lab, guest, cloud, ledger)


def nothing_acknowledged_is_missing_after_resets_with_and_without_a_cloud(lab):
    guest, cloud, ledger = with_backlog(lab)
    for number in range(4):
        wait_for_acknowledgements(ledger, 100 + 37 * number)
        guest.reset()
        if number == 1:
            cloud.open()
    wait_for_acknowledgements(ledger, 100)
    return check_delivery(lab, guest, cloud, ledger)
