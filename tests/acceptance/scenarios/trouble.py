"""Links, disks and clocks that are not as they should be."""

import json
import subprocess

from backlog import CONFIG, check_delivery, wait_for_acknowledgements, with_backlog
from guest import Trouble, until
from lab import HOST, move_to_second_disk, status

# Many commits to a small log, which has to be written back, and wants room for that, every half a minute.
CRAMPED = CONFIG + "queue: {{commit_within: 50ms, max_size: 2MiB}}\n"


def over_a_link_with_delay_loss_and_cuts_everything_arrives_in_order(lab):
    guest, cloud, ledger = with_backlog(lab)
    guest.sh("tc qdisc add dev eth0 root netem delay 400ms 200ms loss 15%")
    wait_for_acknowledgements(ledger, 300)
    for _ in range(3):
        cloud.open()
        wait_for_acknowledgements(ledger, 150)
        cloud.close()
        wait_for_acknowledgements(ledger, 50)
    # A link that is dead without a word, and comes back.
    cloud.open()
    wait_for_acknowledgements(ledger, 100)
    guest.sh("tc qdisc change dev eth0 root netem loss 100%")
    wait_for_acknowledgements(ledger, 400)
    guest.sh("tc qdisc change dev eth0 root netem delay 400ms 200ms loss 15%")
    return check_delivery(lab, guest, cloud, ledger)


def a_full_disk_acknowledges_nothing_that_it_cannot_keep(lab):
    disk = lab.folder / "small"
    subprocess.run(["truncate", "--size", "64M", disk], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    options = ["-drive", f"if=none,id=small,file={disk},format=raw", "-device", "virtio-blk-pci,drive=small"]
    cloud = lab.cloud()
    cloud.close()
    guest = lab.gateway(extra=options)
    move_to_second_disk(guest, CRAMPED.format(host=HOST, port=cloud.port))
    ledger = lab.wire_board(guest, "GW0005", rate=100)
    wait_for_acknowledgements(ledger, 200)
    # Whoever fills the disk takes what the queue gives up, too.
    filler = "while sleep 1; do cat /dev/zero >> /var/lib/serialgate/filler; done"
    guest.sh(f"systemd-run --unit filler bash -c '{filler}'")
    until("the daemon sees that the disk is full", lambda: status(guest)["queue"]["state"] == "degraded", 300)
    guest.sh("systemctl is-active serialgate")
    until("nothing is acknowledged any more", lambda: ledger.unacknowledged() >= 500)
    guest.reset()
    until("the daemon sees it after a restart, too", lambda: status(guest)["queue"]["state"] == "degraded")
    until("nothing is acknowledged then", lambda: ledger.unacknowledged() >= 1000)
    guest.sh("rm /var/lib/serialgate/filler")
    until("the daemon sees that there is room", lambda: status(guest)["queue"]["state"] == "ok")
    wait_for_acknowledgements(ledger, 500)
    cloud.open()
    return check_delivery(lab, guest, cloud, ledger)


def a_date_that_jumps_for_years_costs_nothing_and_changes_no_order(lab):
    guest, cloud, ledger = with_backlog(lab)
    for jump in ("+9 years", "-20 years", "+40 days", "-1 day"):
        wait_for_acknowledgements(ledger, 100)
        guest.sh(f"date --set '{jump}'")
    wait_for_acknowledgements(ledger, 100)
    guest.sh("date --set '+3 years'; systemctl restart serialgate")
    wait_for_acknowledgements(ledger, 100)
    guest.sh("date --set '-2 years'")
    guest.reboot()
    cloud.open()
    wait_for_acknowledgements(ledger, 100)
    seen = check_delivery(lab, guest, cloud, ledger)
    numbers = [json.loads(payload)["seq"] for payload, _ in cloud.readings()]
    if max(numbers) - min(numbers) + 1 > len(set(numbers)):
        raise Trouble("there are gaps between the numbers")
    return seen
