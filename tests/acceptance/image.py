"""Makes what a guest boots: a Debian on a disk, its kernel, and an initramfs. Once for each architecture.

    image.py ARCH...    makes what is missing of these architectures, amd64 or arm64

Lies in target/acceptance/ARCH. Wants root; for arm64 on another machine qemu-user-static as well.
"""

import fcntl
import gzip
import pathlib
import shutil
import stat
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parents[2]
CACHE = TREE / "target" / "acceptance"
RELEASE = "bookworm"

# What a Debian on a small machine has, a static busybox for the initramfs, and the programs that
# docs/install.md calls.
PACKAGES = [
    "systemd-sysv", "dbus", "udev", "kmod", "iproute2", "procps", "ca-certificates", "adduser",
    "mosquitto-clients", "busybox-static",
]  # fmt: skip

# The initramfs loads these, with what they need; udev loads everything else from the disk.
EARLY_MODULES = ["virtio_pci", "virtio_blk", "ext4", "crc32c_generic"]

# Room for the Debian, its kernel's modules, and a scenario. The file is sparse.
DISK_SIZE = "2500M"

# The installer of the kernel's package would make an initramfs, which takes twenty minutes where the
# processor is emulated. So the package is only unpacked.
UNPACK_KERNEL = " && ".join([
    'export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"',
    "kernel=$(apt-cache depends linux-image-ARCH | sed -n 's/^ *Depends: \\(linux-image-[^ ]*\\)$/\\1/p' | head -n 1)",
    'cd "$1/tmp"',
    'apt-get download "$kernel"',
    'dpkg-deb --fsys-tarfile linux-image-*.deb | tar --extract --keep-directory-symlink --directory "$1"',
    "rm linux-image-*.deb",
])  # fmt: skip

INIT = """#!/bin/sh
busybox="/bin/busybox"
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev
while read -r module; do $busybox insmod "/modules/$module"; done < /modules/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 200 ]; do $busybox usleep 50000; tries=$((tries + 1)); done
$busybox mount -t ext4 /dev/vda /root || exec /bin/sh
exec $busybox switch_root /root /sbin/init
"""

FILES = {
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    "etc/fstab": "/dev/vda / ext4 defaults,noatime 0 1\n",
    "etc/systemd/network/wired.network": "[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n",
    "etc/systemd/journald.conf.d/keep.conf": "[Journal]\nStorage=persistent\n",
}

AGENT = """#!/bin/bash
# Does what the test asks for. A line is a number and a script in base64; the answer is the number, the
# exit code and the output in base64. No terminal is between, which would change or lose characters.
until [ -e /dev/virtio-ports/test ]; do sleep 0.1; done
exec 3<> /dev/virtio-ports/test
while true; do
    IFS=' ' read -r number script <&3 || { sleep 0.2; continue; }
    base64 --decode <<< "$script" > /run/test-script
    bash /run/test-script > /run/test-output 2>&1 < /dev/null
    printf '%s %s %s\\n' "$number" "$?" "$(base64 --wrap 0 /run/test-output)" >&3
done
"""

AGENT_UNIT = """[Unit]
Description=The test's hands
After=multi-user.target
[Service]
ExecStart=/usr/local/sbin/agent
WorkingDirectory=/root
Environment=HOME=/root SYSTEMD_COLORS=0 SYSTEMD_URLIFY=0 DEBIAN_FRONTEND=noninteractive
Restart=always
[Install]
WantedBy=graphical.target
"""

FILES["usr/local/sbin/agent"] = AGENT
FILES["etc/systemd/system/agent.service"] = AGENT_UNIT


def ready(arch):
    """Makes the image of `arch` if it is not there. Returns its folder: `disk`, `kernel`, `initramfs`."""
    folder, made = CACHE / arch, CACHE / f"{arch}.made"
    recipe = repr([RELEASE, PACKAGES, EARLY_MODULES, DISK_SIZE, UNPACK_KERNEL, INIT, FILES])
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists() or made.read_text() != recipe:
            print(f"acceptance: making a Debian for {arch}", flush=True)
            made.unlink(missing_ok=True)
            # Not what another file system has there, which a Debian that was not finished may have left.
            subprocess.run(["rm", "--recursive", "--force", "--one-file-system", folder], check=True)
            folder.mkdir()
            make(arch, folder)
            made.write_text(recipe)
    return folder


def make(arch, folder):
    root = folder / "root"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--architectures={arch}",
         f"--include={','.join(PACKAGES)}", f"--customize-hook={UNPACK_KERNEL.replace('ARCH', arch)}", RELEASE, root],
        check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    furnish(arch, root)
    [modules] = (root / "lib" / "modules").iterdir()
    subprocess.run(["depmod", "-b", root, modules.name], check=True)
    [kernel] = (root / "boot").glob("vmlinuz-*")
    content = kernel.read_bytes()
    (folder / "kernel").write_bytes(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    (folder / "initramfs").write_bytes(gzip.compress(initramfs(root, modules), 1))
    disk = folder / "disk"
    subprocess.run(["truncate", "--size", DISK_SIZE, disk], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", root, disk], check=True)
    shutil.rmtree(root)


def furnish(arch, root):
    """A network, a journal that outlives a reboot, and an agent that does what the test asks for."""
    (root / "etc" / "hostname").write_text(f"{arch}\n")
    for path, text in FILES.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "usr/local/sbin/agent").chmod(0o755)
    subprocess.run(["systemctl", "--quiet", f"--root={root}", "enable", "systemd-networkd", "agent"], check=True)


def initramfs(root, modules):
    """A cpio archive that mounts /dev/vda and goes on there."""
    order, pending = [], [find(modules, name) for name in reversed(EARLY_MODULES)]
    needs = dict(line.split(":") for line in (modules / "modules.dep").read_text().splitlines())
    while pending:
        module = pending.pop()
        # What it needs stands there with the last to be loaded first.
        for needed in [*reversed(needs[module].split()), module]:
            if needed not in order:
                order.append(needed)
    archive = bytearray()
    for name in ("bin", "proc", "sys", "dev", "root", "modules"):
        archive += entry(name, stat.S_IFDIR | 0o755, b"")
    archive += entry("bin/busybox", stat.S_IFREG | 0o755, (root / "bin" / "busybox").read_bytes())
    archive += entry("bin/sh", stat.S_IFLNK | 0o777, b"busybox")
    archive += entry("init", stat.S_IFREG | 0o755, INIT.encode())
    for module in order:
        archive += entry(f"modules/{pathlib.Path(module).name}", stat.S_IFREG | 0o644, (modules / module).read_bytes())
    names = "".join(f"{pathlib.Path(module).name}\n" for module in order)
    archive += entry("modules/order", stat.S_IFREG | 0o644, names.encode())
    return bytes(archive + entry("TRAILER!!!", 0, b""))


def find(modules, name):
    """The path of a module in modules.dep. One that is built in or absent is left out by an error here."""
    [path] = (modules / "kernel").rglob(f"{name}.ko")
    return str(path.relative_to(modules))


def entry(name, mode, content):
    """One file of a cpio archive in the format that the kernel reads, newc."""
    fields = [0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        ready(wanted)
