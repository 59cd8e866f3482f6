"""The unit's limits, where a kernel enforces them: which devices may be opened, how much memory may be used."""

import re

from backlog import check_delivery, wait_for_acknowledgements, with_backlog
from guest import Trouble

CGROUP = "/sys/fs/cgroup/system.slice/serialgate.service"


def _open_in_sandbox(guest, device):
    """What a root shell that shares the service's cgroup is told when it opens `device` for reading and writing."""
    return guest.sh(f"bash -c 'echo $$ > {CGROUP}/cgroup.procs; exec 3<> {device}' 2>&1 && echo opened", may_fail=True)


def a_fresh_package_runs_after_a_boot_with_nothing_plugged_in(lab):
    guest = lab.gateway()
    for _ in range(2):
        guest.until("the service is active", "systemctl is-active --quiet serialgate")
        guest.until("the machine is up", "systemctl is-system-running")
        restarts = guest.sh("systemctl show --property NRestarts --value serialgate")
        if restarts.strip() != "0":
            raise Trouble(f"it was restarted {restarts} times")
        guest.until("the local broker answers", "mosquitto_sub -t 'serialgate/+/status' -C 1 -W 5 | grep -x online")
        guest.reboot()
    exposure = guest.sh("systemd-analyze security --no-pager serialgate | tail -n 1")
    if float(re.search(r"(\d+\.\d+)", exposure)[1]) > 1.5:
        raise Trouble(exposure)
    return exposure.lstrip("→ ").strip()


def serial_lines_can_be_opened_and_disks_cannot(lab):
    guest = lab.gateway()
    lab.chatter(guest.plug("GW0006"))
    guest.until("the line is there", "test -c /dev/ttyUSB0")
    for device, admitted in [("/dev/ttyUSB0", True), ("/dev/null", True), ("/dev/vda", False), ("/dev/kmsg", False)]:
        told = _open_in_sandbox(guest, device)
        if ("opened" in told) != admitted:
            raise Trouble(f"{device}: {told}")


def beyond_its_memory_the_daemon_is_ended_and_loses_nothing(lab):
    guest, cloud, ledger = with_backlog(lab)
    if guest.sh(f"cat {CGROUP}/memory.max").strip() != str(256 << 20):
        raise Trouble("the kernel does not know the unit's MemoryMax")
    wait_for_acknowledgements(ledger, 200)
    used = int(guest.sh(f"cat {CGROUP}/memory.current"))
    guest.sh("systemctl set-property --runtime serialgate MemoryMax=1M")
    guest.until("the daemon is ended", "systemctl show --property Result serialgate | grep -x Result=oom-kill")
    guest.sh("systemctl set-property --runtime serialgate MemoryMax=256M")
    guest.until("it is back", "systemctl is-active --quiet serialgate")
    wait_for_acknowledgements(ledger, 200)
    cloud.open()
    return f"{used / (1 << 20):.1f} MiB in use; {check_delivery(lab, guest, cloud, ledger)}"
