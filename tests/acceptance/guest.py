"""A guest: QEMU with Debian's kernel. Its agent runs commands, QMP does what happens to the machine."""

import base64
import json
import select
import shlex
import socket
import subprocess
import threading
import time

# Waits for something that a guest does, in seconds. An emulated processor on a busy machine is slow, and a
# wait that is too long costs nothing where all is well.
PATIENCE = 180
BOOT_PATIENCE = 420

# Program, machine, arguments of the kernel. Without an HPET and with faith in the processor's counter, asking an
# emulated x86 for the time is cheap.
MACHINES = {
    "amd64": ("qemu-system-x86_64", ["-M", "q35,hpet=off", "-cpu", "max"], "console=ttyS0 tsc=reliable no_timer_check"),
    "arm64": ("qemu-system-aarch64", ["-M", "virt", "-cpu", "cortex-a53"], "console=ttyAMA0"),
}

class Trouble(Exception):
    """What a scenario did not see."""


def until(what, condition, patience=PATIENCE, pause=0.2):
    """Waits until `condition()` is true, and returns what it said. `what` is for the message when it never is."""
    end = time.monotonic() + patience
    while True:
        if value := condition():
            return value
        if time.monotonic() > end:
            raise Trouble(f"waited {patience} s in vain: {what}")
        time.sleep(pause)


class Guest:
    """A running guest. `folder` takes its sockets and its console's log; `image` is what image.py made."""

    def __init__(self, arch, folder, image, disk, extra=()):
        program, machine, arguments = MACHINES[arch]
        self.arch, self.folder, self.commands = arch, folder, 0
        self.command_line = [
            program, *machine, "-accel", "tcg,thread=multi", "-smp", "2", "-m", "512",
            "-nodefaults", "-no-user-config", "-display", "none",
            "-kernel", image / "kernel", "-initrd", image / "initramfs",
            "-append", f"{arguments} root=/dev/vda rw net.ifnames=0 panic=-1 systemd.mask=e2scrub_reap.service",
            "-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console",
            "-qmp", "unix:qmp,server=on,wait=off", "-chardev", "socket,id=agent,path=agent,server=on,wait=off",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=test",
            "-drive", f"if=none,id=root,file={disk},format=qcow2,cache=unsafe", "-device", "virtio-blk-pci,drive=root",
            "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
            "-device", "virtio-rng-pci", "-device", "qemu-xhci,id=xhci", *extra,
        ]  # fmt: skip
        self.process, self.boot = None, None
        self.start()

    def start(self):
        """Switches it on, and waits until it is up."""
        for name in ("agent", "qmp"):
            (self.folder / name).unlink(missing_ok=True)
        with (self.folder / "qemu.log").open("a") as log:
            self.process = subprocess.Popen(
                self.command_line, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.qmp_file = self.connect("qmp").makefile("rw")
        self.qmp_file.readline()
        self.qmp("qmp_capabilities")
        self.agent, self.heard = self.connect("agent"), b""
        self.wait_for_boot()

    def connect(self, name):
        """A socket of QEMU's, which is there a moment after it was started."""

        def attempt():
            if self.process.poll() is not None:
                raise Trouble(f"qemu ended: {(self.folder / 'qemu.log').read_text()[-500:]}")
            link = socket.socket(socket.AF_UNIX)
            try:
                link.connect(str(self.folder / name))
            except OSError:
                link.close()
                return None
            return link

        return until(f"qemu's socket {name}", attempt, 60, 0.05)

    def qmp(self, command, **arguments):
        """Has QEMU do something."""
        self.qmp_file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.qmp_file.flush()
        while True:
            line = self.qmp_file.readline()
            if not line:
                raise Trouble(f"qemu went away at {command}")
            answer = json.loads(line)
            if "error" in answer:
                raise Trouble(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def ask(self, script, patience):
        """Has the agent run a script. Returns its exit code and output, or None when no answer comes."""
        self.commands += 1
        number = str(self.commands).encode()
        self.agent.settimeout(patience)
        end = time.monotonic() + patience
        try:
            self.agent.sendall(number + b" " + base64.b64encode(script.encode()) + b"\n")
            while time.monotonic() < end:
                while b"\n" not in self.heard:
                    data = self.agent.recv(65536)
                    if not data:
                        raise Trouble(f"the guest is gone, see {self.folder}/console.log")
                    self.heard += data
                line, self.heard = self.heard.split(b"\n", 1)
                # Answers to what nobody waits for any more may come first.
                if line.startswith(number + b" "):
                    _, code, output = line.split(b" ")
                    return int(code), base64.b64decode(output).decode(errors="replace").strip()
        except TimeoutError:
            pass
        return None

    def wait_for_boot(self):
        """Waits until it is up, in another boot than the one before."""

        def booted():
            answer = self.ask("cat /proc/sys/kernel/random/boot_id", 5)
            return answer and answer[1] != self.boot and answer[1]

        self.boot = until("the guest boots", booted, BOOT_PATIENCE)

    def sh(self, command, patience=PATIENCE, may_fail=False):
        """Runs `command` in the guest's shell, and returns what it printed."""
        answer = self.ask(command, patience)
        if answer is None:
            raise Trouble(f"waited {patience} s in vain for the end of: {command}")
        code, output = answer
        if code and not may_fail:
            raise Trouble(f"exit code {code} of: {command}\n{output}")
        return output

    def write(self, path, content):
        """Writes a file in the guest."""
        data = base64.b64encode(content.encode()).decode()
        path = shlex.quote(path)
        self.sh(f"mkdir --parents $(dirname {path}) && base64 --decode > {path} <<< {data}")

    def until(self, what, command, patience=PATIENCE):
        """Waits in the guest until `command` succeeds, and returns what it printed last."""
        script = f"""for try in $(seq {patience * 2}); do
            {{ {command}
            }} > /run/test-until 2>&1 && exec cat /run/test-until
            sleep 0.5
        done
        cat /run/test-until; false"""
        try:
            return self.sh(script, patience * 3)
        except Trouble as trouble:
            raise Trouble(f"waited {patience} s in vain: {what}\n{trouble}") from trouble

    def plug(self, name):
        """Plugs in a converter of FTDI's with this serial number. Returns the line's other end, a socket."""
        path = f"usb-{name}"
        self.qmp(
            "chardev-add", id=f"line-{name}",
            backend={"type": "socket", "data": {
                "addr": {"type": "unix", "data": {"path": path}}, "server": True, "wait": False}},
        )  # fmt: skip
        # QEMU shows the device to the guest only while somebody has the other end.
        line = self.connect(path)
        self.replug(name)
        return line

    def replug(self, name):
        self.qmp("device_add", driver="usb-serial", id=f"usb-{name}", chardev=f"line-{name}", serial=name, bus="xhci.0")

    def unplug(self, name):
        self.qmp("device_del", id=f"usb-{name}")

    def reboot(self):
        """An orderly reboot."""
        # The agent may be ended before it has answered.
        self.ask("systemctl --no-block reboot", 5)
        self.wait_for_boot()

    def reset(self):
        """What a reset button does: everything stops at once, the disk keeps what it has."""
        self.qmp("system_reset")
        self.wait_for_boot()

    def kill(self):
        """Takes the plug out, of a machine whose disk writes on."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Chatter:
    """A board that prints one JSON object per line, counting from 1, at the other end of a guest's serial line."""

    def __init__(self, line, rate=10):
        self.line, self.rate, self.next = line, rate, 1
        self.ended = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        # What the gateway says to a board that does not listen is thrown away, or the line fills up.
        self.line.settimeout(1 / self.rate)
        due = time.monotonic()
        while not self.ended.is_set():
            try:
                if not self.line.recv(4096):
                    return
            except TimeoutError:
                pass
            except OSError:
                return
            while time.monotonic() >= due:
                due += 1 / self.rate
                # While the guest boots nobody takes anything. A board prints to nobody, then.
                if not select.select([], [self.line], [], 0)[1]:
                    continue
                try:
                    self.line.sendall(b'{"n":%d,"temp":%d.%d}\n' % (self.next, 20 + self.next % 7, self.next % 10))
                except OSError:
                    return
                self.next += 1
