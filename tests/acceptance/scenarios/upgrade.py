"""A newer package over an older one, with readings that wait."""

from backlog import check_delivery, wait_for_acknowledgements, with_backlog
from guest import Trouble
from lab import carry, package, previous_package, queued


def an_upgrade_keeps_the_backlog_and_the_configuration(lab):
    old = previous_package(lab.folder)
    guest, cloud, ledger = with_backlog(lab, deb=old)
    wait_for_acknowledgements(ledger, 1000)
    before, config = queued(guest), guest.sh("cat /etc/serialgate/serialgate.yaml")

    disk = lab.folder / "new"
    carry(disk, [package("amd64")])
    file = {"driver": "file", "filename": str(disk)}
    guest.qmp("blockdev-add", driver="raw", file=file, **{"node-name": "new", "read-only": True})
    guest.qmp("device_add", driver="usb-storage", id="new", drive="new", bus="xhci.0")
    guest.until("the new package is there", "mount -r /dev/sda /carried")
    guest.sh("rm /root/serialgate_*.deb; cp /carried/*.deb /root/; umount /carried")
    output = guest.sh("apt-get install --yes /root/serialgate_*.deb < /dev/null", 600)

    if guest.sh("cat /etc/serialgate/serialgate.yaml") != config:
        raise Trouble("the configuration has changed")
    if "Three steps" in output:
        raise Trouble("an upgrade greets like a first installation")
    if queued(guest) < before:
        raise Trouble(f"{before} waited before the upgrade, {queued(guest)} after it")
    wait_for_acknowledgements(ledger, 100)
    cloud.open()
    return check_delivery(lab, guest, cloud, ledger)
