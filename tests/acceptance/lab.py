"""What a scenario works with: packages, guests with the gateway, boards, clouds. All of it ends with the scenario."""

import json
import os
import pathlib
import shutil
import subprocess

import image
from cloud import Cloud
from guest import Chatter, Guest, Trouble, until

DIST = image.TREE / "dist"
# Where a guest finds the machine that it runs on.
HOST = "10.0.2.2"


def package(arch):
    """The newest package for `arch` that was made."""
    found = sorted(DIST.glob(f"serialgate_*_{arch}.deb"), key=lambda deb: deb.stat().st_mtime)
    if not found:
        raise Trouble(f"no package for {arch} in dist/: `make deb` and `make deb-arm64` make them")
    return found[-1]


def previous_package(folder):
    """The package that one upgrades from: PREVIOUS=FILE, or this one under the number of an earlier version."""
    if given := os.environ.get("PREVIOUS"):
        return pathlib.Path(given)
    content = folder / "previous"
    subprocess.run(["dpkg-deb", "--raw-extract", package("amd64"), content], check=True)
    control = content / "DEBIAN" / "control"
    lines = control.read_text().splitlines()
    control.write_text("".join("Version: 0.0.1\n" if line.startswith("Version:") else f"{line}\n" for line in lines))
    deb = folder / "serialgate_0.0.1_amd64.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", content, deb], check=True, stdout=subprocess.DEVNULL)
    return deb


def program():
    """The package's own program, to be run on this machine."""
    folder = image.CACHE / "program"
    deb, used = package("amd64"), folder / "package"
    wanted = f"{deb} {deb.stat().st_mtime}"
    if not used.exists() or used.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["dpkg-deb", "--extract", deb, folder], check=True)
        used.write_text(wanted)
    return folder / "usr" / "bin" / "serialgate"


class Lab:
    """One scenario's. `folder` is its own, and stays for a look when it fails."""

    def __init__(self, folder):
        self.folder, self.guests, self.clouds, self.boards, self.processes = folder, [], [], [], []

    def guest(self, arch="amd64", extra=(), deb=None):
        """A fresh guest, booted, with the package in /root."""
        folder = self.folder / f"guest-{len(self.guests)}"
        folder.mkdir()
        made, deb = image.ready(arch), deb or package(arch)
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", made / "disk", "-F", "raw", folder / "disk"], check=True
        )
        carried = folder / "carried"
        carry(carried, [deb])
        drive = ["-drive", f"if=none,id=carried,file={carried},format=raw,readonly=on"]
        guest = Guest(arch, folder, made, folder / "disk", [*drive, "-device", "virtio-blk-pci,drive=carried", *extra])
        self.guests.append(guest)
        guest.sh("mkdir -p /carried; mount -r /dev/vdb /carried; cp /carried/*.deb /root/; umount /carried")
        return guest

    def gateway(self, arch="amd64", extra=(), config=None, deb=None):
        """A guest in which the package is installed, and runs with `config`."""
        guest = self.guest(arch, extra, deb)
        guest.sh("apt-get install --yes /root/serialgate_*.deb", 600)
        if config:
            configure(guest, config)
        return guest

    def cloud(self, **options):
        cloud = Cloud(**options)
        self.clouds.append(cloud)
        return cloud

    def chatter(self, line, **options):
        board = Chatter(line, **options)
        self.boards.append(board)
        return board

    def wire_board(self, guest, name, rate, uid="0a0b0c0d"):
        """A board with the library's protocol, plugged into `guest`. It keeps readings until they are acknowledged.

        Returns its ledger: what it produced, what was acknowledged.
        """
        link, ledger = self.folder / f"board-{name}", self.folder / f"board-{name}.jsonl"
        self.processes.append(subprocess.Popen(
            [program(), "sim", "--link", link, "--format", "wire", "--rate", str(rate), "--uid", uid, "--name", "bench",
             "--ring", "5000", "--wait", "--ledger", ledger],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(self.folder / f"board-{name}.log").open("w"),
        ))  # fmt: skip
        until("the simulated board's line", link.exists)
        self.attach(guest, name, link)
        return Ledger(ledger)

    def attach(self, guest, name, link):
        """Plugs a line of this machine into the guest's USB."""
        device = str(link.resolve())
        guest.qmp("chardev-add", id=f"line-{name}", backend={"type": "serial", "data": {"device": device}})
        guest.replug(name)

    def end(self):
        # First what would live on.
        for guest in self.guests:
            guest.kill()
        for board in self.boards:
            board.ended.set()
        for process in self.processes:
            process.kill()
            process.wait()
        for cloud in self.clouds:
            cloud.close()


class Ledger:
    """What a simulated board tells, line by line."""

    def __init__(self, path):
        self.path, self.at, self.rest = path, 0, b""
        self.produced, self.acknowledged = [], []

    def read(self):
        """Takes in what is new. Returns it, as parsed lines."""
        with self.path.open("rb") as file:
            file.seek(self.at)
            data = file.read()
        self.at += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        new = [json.loads(line) for line in lines]
        self.produced += [line["id"] for line in new if line["event"] == "produced"]
        self.acknowledged += [line["id"] for line in new if line["event"] == "acknowledged"]
        return new

    def unacknowledged(self):
        """How many readings there are since the last one that was acknowledged."""
        self.read()
        return len(self.produced) - 1 - self.produced.index(self.acknowledged[-1])


def carry(disk, files):
    """A small disk with `files`: the way into a guest."""
    folder = disk.with_name("carry")
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    subprocess.run(["truncate", "--size", "64M", disk], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", folder, disk], check=True)
    shutil.rmtree(folder)


def configure(guest, text):
    """Has the service run with another configuration."""
    guest.write("/etc/serialgate/serialgate.yaml", text)
    guest.sh("serialgate check && systemctl restart serialgate")


def move_to_second_disk(guest, config):
    """Has the service run with another configuration, and with a disk of its own below its folder."""
    guest.sh("systemctl stop serialgate")
    guest.sh("echo '/dev/vdc /var/lib/serialgate ext4 noatime 0 2' >> /etc/fstab && systemctl daemon-reload")
    guest.sh("mount /var/lib/serialgate && rmdir /var/lib/serialgate/lost+found")
    guest.write("/etc/serialgate/serialgate.yaml", config)
    guest.sh("systemctl start serialgate")


def status(guest):
    """`serialgate status --json`, of a daemon that may still be starting."""
    return json.loads(guest.until("the daemon answers", "serialgate status --json"))


def queued(guest):
    """How many readings and messages wait."""
    return status(guest)["queue"]["readings"]
