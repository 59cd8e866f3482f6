"""The power goes, at any write of the real daemon's, and the disk is in any state that it may be in then."""

import json
import random
import subprocess
import threading
import time

from backlog import CONFIG as WITH_CLOUD
from guest import Trouble, until
from lab import HOST, move_to_second_disk, program, queued
from recorder import Recorder

# Many small commits are more moments to be cut in.
CONFIG = WITH_CLOUD + "queue: {{commit_within: 50ms}}\n"
# Readings that are acknowledged in each phase.
PHASE = 800

CUTS = 240
CONTROL_CUTS = 60
# The daemon itself is started on every so many states; reading the file is quicker.
DAEMON_EVERY = 20


class _Owed:
    """What the daemon has promised, and when: in numbers of requests to the disk."""

    def __init__(self, recorder, cloud, ledger):
        self.recorder, self.cloud, self.ledger, self.acknowledged = recorder, cloud, ledger, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while not self.ended.is_set():
            new = [line["id"] for line in self.ledger.read() if line["event"] == "acknowledged"]
            # Counted after it was seen: a promise is never taken for older than it is.
            count = self.recorder.count()
            self.acknowledged += [(reading, count) for reading in new]
            time.sleep(0.01)

    def stop(self):
        self.ended.set()
        self.thread.join()

    def at(self, cut):
        """The readings that must be on the disk after `cut` requests: acknowledged, and not at the cloud yet."""
        arrived = {json.loads(payload)["id"] for payload, count in self.cloud.readings() if count <= cut}
        return {reading for reading, count in self.acknowledged if count <= cut} - arrived


def after_any_cut_what_was_acknowledged_is_at_the_cloud_or_on_the_disk(lab):
    recorder = Recorder(lab.folder)
    owed = _record(lab, recorder)
    first, last = owed.acknowledged[0][1], recorder.count()
    cuts = sorted(random.Random(7).choices(range(first, last + 1), k=CUTS))

    largest = 0
    for number, (cut, state) in enumerate(recorder.states(cuts)):
        promised = owed.at(cut)
        with recorder.mounted(state) as place:
            kept = _read(place / "queue.db")
            lost = promised - kept
            if not lost and number % DAEMON_EVERY == 0:
                lost = promised - _read_by_daemon(lab, place / "queue.db")
        if lost:
            raise Trouble(f"cut {cut}: {len(lost)} of {len(promised)} acknowledged are lost: {sorted(lost)[:5]}")
        largest = max(largest, len(promised))

    losing = _control(recorder, owed, random.Random(8).sample(cuts, CONTROL_CUTS))
    if losing < CONTROL_CUTS // 4:
        raise Trouble(f"a disk that lies about flushes lost something in only {losing} of {CONTROL_CUTS} cuts")
    recorder.forget()
    return (
        f"{CUTS} cuts in {last} requests, {len(owed.acknowledged)} acknowledged, up to {largest} on the disk alone: "
        f"nothing lost; a disk that lies: {losing} of {CONTROL_CUTS} cuts lose"
    )


def _record(lab, recorder):
    """The daemon at work: without a cloud, through a restart, with a backlog that drains, and without a cloud again."""
    cloud = lab.cloud(stamp=recorder.count)
    cloud.close()
    guest = lab.gateway(extra=recorder.options)
    move_to_second_disk(guest, CONFIG.format(host=HOST, port=cloud.port))
    ledger = lab.wire_board(guest, "GW0004", rate=50)
    owed = _Owed(recorder, cloud, ledger)
    try:
        for what, act in [
            ("without a cloud", lambda: None),
            ("through a restart", lambda: guest.sh("systemctl restart serialgate")),
            ("with a cloud", cloud.open),
            ("without it again", cloud.close),
        ]:
            act()
            wanted = len(owed.acknowledged) + PHASE
            until(f"acknowledgements {what}", lambda wanted=wanted: len(owed.acknowledged) >= wanted)
            if what == "with a cloud":
                # What comes in meanwhile waits for a moment, too.
                until("the backlog has drained", lambda: queued(guest) < 100)
    finally:
        owed.stop()
        guest.kill()
    return owed


def _read(file):
    """The ids in a cold queue file. A file that is damaged has lost."""
    export = subprocess.run([program(), "queue", "export", "--file", file], capture_output=True, text=True)
    if export.returncode:
        raise Trouble(f"export ends with {export.returncode}: {export.stderr}")
    return _ids(export.stdout)


def _read_by_daemon(lab, file):
    """The ids that a daemon has which starts with this file."""
    config, socket = lab.folder / "daemon.yaml", lab.folder / "daemon.sock"
    config.write_text(
        f"gateway: greenhouse\nqueue: {{path: {file}}}\nbroker: {{listen: []}}\ncontrol: {{socket: {socket}}}\n"
        "bridges: [{name: cloud, url: 'mqtt://127.0.0.1:9'}]\n"
    )
    socket.unlink(missing_ok=True)
    with (lab.folder / "daemon.log").open("a") as log:
        daemon = subprocess.Popen([program(), "run", "--config", config], stderr=log, stdin=subprocess.DEVNULL)
    try:
        verify = [program(), "queue", "verify", "--socket", socket]
        until("the daemon starts", lambda: subprocess.run(verify, capture_output=True).returncode == 0, 60)
        export = [program(), "queue", "export", "--socket", socket]
        return _ids(subprocess.run(export, check=True, capture_output=True, text=True).stdout)
    finally:
        daemon.kill()
        daemon.wait()


def _ids(export):
    entries = [json.loads(line) for line in export.splitlines()]
    return {entry["id"] for entry in entries if entry["kind"] == "reading"}


def _control(recorder, owed, cuts):
    """In how many cuts a disk loses something that does not do what it says it did. This test must see it."""
    losing = 0
    for cut, state in recorder.states(sorted(cuts), lying=True):
        try:
            with recorder.mounted(state) as place:
                losing += bool(owed.at(cut) - _read(place / "queue.db"))
        except (Trouble, subprocess.CalledProcessError):
            losing += 1
    return losing
