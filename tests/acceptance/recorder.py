"""A guest's disk of which every write is recorded, and the states that a power cut may leave it in.

The record is QEMU's blklogwrites, whose format is that of Linux's dm-log-writes: a superblock, then for
each request its head and its data, all in sectors.
"""

import contextlib
import random
import shutil
import struct
import subprocess

SECTOR = 512
SUPERBLOCK = struct.Struct("<QQQI")
HEAD = struct.Struct("<QQQQ")
MAGIC = 0x6A736677736872
FLUSH, FORCE_UNIT_ACCESS, DISCARD, MARK = 1, 2, 4, 8
SIZE = "64M"
LOG_SIZE = "4G"

# A disk that lies about flushes keeps this many of its newest requests to itself.
LIES = 300


class Recorder:
    """The disk, in `folder`. `options` are QEMU's, `count()` is how many requests there were so far."""

    def __init__(self, folder):
        self.folder, self.pristine, self.log = folder, folder / "pristine", folder / "log"
        disk = folder / "recorded"
        subprocess.run(["truncate", "--size", SIZE, self.pristine], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.pristine], check=True)
        subprocess.run(["cp", "--sparse=always", self.pristine, disk], check=True)
        subprocess.run(["truncate", "--size", LOG_SIZE, self.log], check=True)
        self.options = [
            "-blockdev", f"driver=file,filename={disk},node-name=recorded",
            "-blockdev", f"driver=file,filename={self.log},node-name=log",
            "-blockdev", "driver=blklogwrites,node-name=recorder,file=recorded,log=log,log-super-update-interval=1",
            "-device", "virtio-blk-pci,drive=recorder",
        ]  # fmt: skip

    def count(self):
        with self.log.open("rb") as log:
            return SUPERBLOCK.unpack(log.read(SUPERBLOCK.size))[2]

    def requests(self):
        """(sector, sectors, flags, place of the data in the log) of each."""
        found = []
        with self.log.open("rb") as log:
            magic, _, count, sector = SUPERBLOCK.unpack(log.read(SUPERBLOCK.size))
            if magic != MAGIC or sector != SECTOR:
                raise ValueError(f"not a log of writes: magic {magic:#x}, sectors of {sector}")
            at = sector
            for _ in range(count):
                log.seek(at)
                start, length, flags, extra = HEAD.unpack(log.read(HEAD.size))
                at += sector
                found.append((start, length, flags, at))
                at += extra if flags & MARK else 0 if flags & DISCARD else length * sector
        return found

    def states(self, cuts, lying=False):
        """For each of `cuts`, in rising order: the cut, and a disk as it may be when the power goes after that
        many requests.

        What was flushed is there. Of the rest, each sector is there or not, in any order. A disk that is
        `lying` says that it has flushed, and has not.
        """
        requests, done = self.requests(), 0
        safe, state = self.folder / "safe", self.folder / "state"
        subprocess.run(["cp", "--sparse=always", self.pristine, safe], check=True)
        with self.log.open("rb") as log:
            for number, cut in enumerate(cuts):
                chance = random.Random(number)
                flushed = flushed_by(requests, cut)
                if lying:
                    flushed = max(done, min(flushed, cut - chance.randrange(LIES)))
                with safe.open("r+b") as disk:
                    for request in requests[done:flushed]:
                        write(disk, log, request)
                done = max(done, flushed)
                subprocess.run(["cp", "--sparse=always", safe, state], check=True)
                share = chance.choice([0.0, 0.5, 0.5, 0.9, 1.0])
                with state.open("r+b") as disk:
                    for request in requests[done:cut]:
                        write(disk, log, request, lambda share=share, chance=chance: chance.random() < share)
                yield cut, state

    @contextlib.contextmanager
    def mounted(self, state):
        """The file system of a disk, after it has replayed its journal."""
        place = self.folder / "mounted"
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-o", "loop", state, place], check=True, capture_output=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)

    def forget(self):
        """Makes room: the log and the states are large."""
        for file in ("log", "safe", "state", "recorded"):
            (self.folder / file).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "mounted", ignore_errors=True)


def flushed_by(requests, cut):
    """How many requests are safe for ever when `cut` of them are done."""
    for at in range(cut - 1, -1, -1):
        if requests[at][2] & (FLUSH | FORCE_UNIT_ACCESS):
            return at + 1
    return 0


def write(disk, log, request, kept=None):
    """Does a request, or of each sector what `kept` says."""
    start, length, flags, at = request
    if flags & (DISCARD | MARK) or not length:
        return
    log.seek(at)
    data = log.read(length * SECTOR)
    if kept is None:
        disk.seek(start * SECTOR)
        disk.write(data)
        return
    for sector in range(length):
        if kept():
            disk.seek((start + sector) * SECTOR)
            disk.write(data[sector * SECTOR : (sector + 1) * SECTOR])
