"""Links that are not as they should be."""

from backlog import check_delivery, wait_for_acknowledgements, with_backlog


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
