"""A virtual machine by software emulation: started, asked to run programs, and ended or cut off."""
import json
import os
import queue
import shutil
import socket
import subprocess
import threading
import time

QEMU = "qemu-system-x86_64"
# Emulation makes everything slower by about ten, and other tests may be under way.
BOOT_SECONDS = 300


class GuestFailed(Exception):
    """The guest did not boot, or does not answer."""


class Outcome:
    def __init__(self, code, out):
        self.code, self.out = code, out


class Command:
    """A program that runs in the guest."""

    def __init__(self, machine, number):
        self.machine, self.number = machine, number
        self.messages = queue.Queue()

    def lines(self, seconds):
        """What it writes, line by line as it comes, and last its exit code. Raises GuestFailed after `seconds` or at the guest's end."""
        end = time.monotonic() + seconds
        while True:
            try:
                message = self.messages.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                self.kill()
                raise GuestFailed("no end within %d s" % seconds) from None
            if message is None:
                raise GuestFailed("the guest ended")
            if "code" in message:
                yield message["code"]
                return
            yield message["out"]

    def wait(self, seconds, show=None):
        text = []
        for line in self.lines(seconds):
            if isinstance(line, int):
                return Outcome(line, "".join(text))
            text.append(line)
            if show is not None:
                show(line)
        raise GuestFailed("no exit code")

    def kill(self):
        self.machine.send({"id": self.number, "kill": True})


class VirtualMachine:
    """One boot. The root's disk is never written to; `data` is a raw image that persists, as far as the guest had synced it."""

    def __init__(self, base, payload, data, folder, memory=1536, console=False):
        self.folder = folder
        self.port = os.path.join(folder, "agent.sock")
        self.log = os.path.join(folder, "console.log")
        if os.path.exists(self.port):
            os.unlink(self.port)
        # no_timer_check: else the kernel counts ticks in a loop at boot, and panics when a busy machine emulates too few of them in time.
        append = "console=ttyS0 rootfstype=ext4 panic=-1 quiet systemd.show_status=0 mitigations=off random.trust_cpu=on no_timer_check"
        drives = [(os.path.join(base, "root.ext4"), "snapshot=on"), (payload, "readonly=on"), (data, "cache=writeback")]
        command = [QEMU, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(memory), "-nodefaults", "-no-reboot", "-display", "none",
                   "-kernel", os.path.join(base, "vmlinuz"), "-initrd", os.path.join(base, "initrd"),
                   "-append", append + (" berth.shell" if console else ""),
                   "-serial", "mon:stdio" if console else "file:" + self.log,
                   "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                   "-chardev", "socket,id=agent,server=on,wait=off,path=" + self.port,
                   "-device", "virtserialport,chardev=agent,name=berth.agent"]
        for path, options in drives:
            command += ["-drive", "if=virtio,format=raw,file=%s,%s" % (path, options)]
        self.console = console
        # Its temporary files are gone with it.
        self.process = subprocess.Popen(command, stdin=None if console else subprocess.DEVNULL,
                                        stdout=None if console else subprocess.DEVNULL, stderr=None if console else subprocess.PIPE,
                                        env=dict(os.environ, TMPDIR=folder))
        self.socket = None
        self.commands = {}
        self.number = 0
        self.lock = threading.Lock()
        self.ready = threading.Event()

    def wait_until_ready(self, seconds=BOOT_SECONDS):
        """Returns the seconds since the start."""
        began = time.monotonic()
        while self.socket is None:
            self.check_alive()
            attempt = socket.socket(socket.AF_UNIX)
            try:
                attempt.connect(self.port)
                self.socket = attempt
            except OSError:
                attempt.close()
                time.sleep(0.1)
        threading.Thread(target=self.read, args=(self.socket,), daemon=True).start()
        while not self.ready.wait(0.2):
            self.check_alive()
            if time.monotonic() - began > seconds:
                raise GuestFailed("the guest was not up within %d s:\n%s" % (seconds, self.tail()))
        return time.monotonic() - began

    def check_alive(self):
        if self.process.poll() is not None:
            error = self.process.stderr.read().decode(errors="replace") if self.process.stderr else ""
            raise GuestFailed("QEMU ended with %d: %s\n%s" % (self.process.returncode, error.strip(), self.tail()))

    def tail(self, lines=25):
        try:
            with open(self.log, errors="replace") as log:
                return "".join("    " + line for line in log.readlines()[-lines:])
        except OSError:
            return "    (nothing on the console)"

    def read(self, connection):
        pending = b""
        while True:
            try:
                data = connection.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            pending += data
            *lines, pending = pending.split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message.get("ready"):
                    self.ready.set()
                else:
                    self.commands[message["id"]].messages.put(message)
        for command in list(self.commands.values()):
            command.messages.put(None)

    def send(self, message):
        with self.lock:
            try:
                self.socket.sendall((json.dumps(message) + "\n").encode())
            except OSError:
                pass  # its end shows in what is read

    def start(self, command, text="", **environment):
        self.number += 1
        running = self.commands[self.number] = Command(self, self.number)
        self.send({"id": self.number, "command": command, "input": text, "environment": environment})
        return running

    def run(self, command, seconds, text="", **environment):
        return self.start(command, text, **environment).wait(seconds)

    def cut_off(self):
        """The power fails. Returns when nothing of it runs any more."""
        self.process.kill()
        self.process.wait()
        if self.socket is not None:
            self.socket.close()
        if self.process.stderr:
            self.process.stderr.close()

    def power_off(self):
        """Ends it in order, or by force."""
        if self.process.poll() is None and self.socket is not None:
            self.start(["systemctl", "poweroff"])
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                pass
        self.cut_off()


def make_disk(path, megabytes):
    """An empty ext4 image without blocks of its own."""
    with open(path, "wb") as out:
        out.truncate(megabytes << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", path], check=True)


def missing():
    """Why there can be no virtual machine here, or nothing."""
    return "" if shutil.which(QEMU) else QEMU + " is not installed"
