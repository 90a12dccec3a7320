"""Starts and ends one daemon with folders of its own: berthd or containerd."""
import os
import signal
import socket
import subprocess
import time

import machine

CONTAINERD_CONFIG = """
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{address}"
"""


# Where shims of containerd let runc and crun keep their state, whichever daemon started them.
RUNTIME_STATE = "/run/containerd/runc"


def runtime_states(namespace):
    folder = os.path.join(RUNTIME_STATE, namespace)
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))] if os.path.isdir(folder) else []


class DaemonFailed(Exception):
    """The daemon did not start, or did not end when asked to."""


class Daemon:
    def __init__(self, kind, program, folder, extra=(), path=""):
        self.kind = kind
        self.program = program
        self.folder = folder
        self.root = os.path.join(folder, "root")
        self.state = os.path.join(folder, "state")
        self.address = os.path.join(folder, "d.sock")
        self.log = os.path.join(folder, "daemon.log")
        self.extra = list(extra)
        self.path = path  # folders to look in first, for shims of the same package
        self.without_unified_cgroup = False
        self.berthd_config = []
        self.process = None
        os.makedirs(self.root, 0o700, exist_ok=True)
        os.makedirs(self.state, 0o700, exist_ok=True)

    def command(self):
        config = os.path.join(self.folder, "config.toml")
        if self.kind == "berthd":
            # Its own file also where it says nothing: that of an installed one, in /etc, is not of this run.
            with open(config, "w") as out:
                out.write("version = 2\n" + "\n".join(self.berthd_config).replace("$DIR", self.folder) + "\n")
            command = [self.program, "--root", self.root, "--state", self.state, "--address", self.address, "--config", config] + self.extra
            return command
        with open(config, "w") as out:
            out.write(CONTAINERD_CONFIG.format(root=self.root, state=self.state, address=self.address))
        return [self.program, "--config", config]

    def start(self):
        command = self.command()
        if self.without_unified_cgroup:
            command = ["unshare", "-m", "sh", "-c", "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"", "sh"] + command
        environment = dict(os.environ)
        if self.path:
            environment["PATH"] = self.path + ":" + environment["PATH"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=environment, start_new_session=True)
        end = time.monotonic() + 30 * machine.SLOWNESS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise DaemonFailed("%s ended at once with %d:\n%s" % (self.kind, self.process.returncode, self.tail()))
            if self.answers():
                return
            time.sleep(0.02)
        raise DaemonFailed("%s did not listen on its socket within 30 s:\n%s" % (self.kind, self.tail()))

    def answers(self):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.address)
            except OSError:
                return False
        done = subprocess.run(["ctr", "version"], env=dict(os.environ, CONTAINERD_ADDRESS=self.address),
                              capture_output=True, timeout=30 * machine.SLOWNESS)
        return done.returncode == 0

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        """Asks it to end. Raises when that takes more than 20 seconds or it had died before."""
        if self.process is None:
            return
        if self.process.poll() is not None:
            code, self.process = self.process.returncode, None
            raise DaemonFailed("%s had died with %d:\n%s" % (self.kind, code, self.tail()))
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20 * machine.SLOWNESS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonFailed("%s did not end within 20 s of SIGTERM:\n%s" % (self.kind, self.tail())) from None
        self.process = None
        if code != 0:
            raise DaemonFailed("%s ended with %d after SIGTERM:\n%s" % (self.kind, code, self.tail()))

    def tail(self, lines=30):
        try:
            with open(self.log, errors="replace") as log:
                return "".join("    " + line for line in log.readlines()[-lines:])
        except OSError:
            return "    (no log)"

    def mount_filesystem(self, path, kind, megabytes):
        """A loop-mounted file system of its own at `path` under the root, before the first start."""
        image = os.path.join(self.folder, path.replace("/", "-") + ".img")
        target = os.path.join(self.root, path)
        os.makedirs(target, 0o700, exist_ok=True)
        with open(image, "wb") as out:
            out.truncate(megabytes << 20)
        quiet = {"ext4": ["-q"], "btrfs": ["-q"]}.get(kind, [])
        subprocess.run(["mkfs." + kind] + quiet + [image], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["mount", "-o", "loop", image, target], check=True)
        os.chmod(target, 0o700)

    def leaks(self, namespace):
        """What is left after the daemon has ended, as sentences."""
        found = []
        own = os.getpid()
        for pid in machine.descendants(own):
            found.append("process %d is left: %s" % (pid, machine.command_line(pid)[:200]))
        expected = set(os.path.join(self.root, name) for name in os.listdir(self.root))
        for point in machine.mounts_under(self.folder):
            if point not in expected:
                found.append("mount is left: " + point)
        for cgroup in machine.cgroups_named(namespace):
            inside = [name for name in os.listdir(cgroup) if os.path.isdir(os.path.join(cgroup, name))]
            if inside:
                found.append("cgroups are left in %s: %s" % (cgroup, ", ".join(inside)))
        for folder in runtime_states(namespace):
            found.append("runtime state is left: " + folder)
        return found


class Installed(Daemon):
    """The machine's own, which this run neither starts nor ends; its steps may."""

    def __init__(self, folder):
        super().__init__("berthd", "/usr/bin/berthd", folder)
        self.address = "/run/berth/berth.sock"

    def start(self):
        pass

    def stop(self):
        pass

    def kill(self):
        pass

    def alive(self):
        return True

    def tail(self, lines=30):
        log = subprocess.run(["journalctl", "-u", "berthd", "--no-pager", "-n", str(lines)], capture_output=True, text=True, check=False)
        return "".join("    " + line + "\n" for line in log.stdout.splitlines())
