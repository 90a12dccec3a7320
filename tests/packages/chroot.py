"""A system of its own for packages: this machine's files below, seen through an overlay, and nothing written goes through. Programs in it
run in mount and process namespaces of their own, so that whatever they start and mount is gone with them."""
import os
import shutil
import signal
import subprocess
import tempfile
import time

# What the overlay does not reach: file systems of their own.
SHARED = ["/dev", "/sys"]
# From here on nothing of this machine's daemons is seen.
EMPTY = ["/run", "/tmp", "/var/lib/berth", "/var/lib/containerd", "/etc/berth"]

PREPARE = r"""
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=700 none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
for shared in {shared}; do mount --rbind "$shared" "$1/root$shared"; done
mount -t proc proc "$1/root/proc"
for empty in {empty}; do mkdir -p "$1/root$empty"; mount -t tmpfs -o mode=755 none "$1/root$empty"; done
mkdir -p "$1/root/run/lock" && chmod 1777 "$1/root/tmp"
printf '#!/bin/sh\nexit 101\n' >"$1/root/usr/sbin/policy-rc.d"; chmod 755 "$1/root/usr/sbin/policy-rc.d"
echo ready
exec sleep infinity
""".format(shared=" ".join(SHARED), empty=" ".join(EMPTY))


class Chroot:
    """Use it with `with`."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="berth-packages-")
        # The first process of its namespace: when it is killed, so is all that runs there, and with the last one go the mounts.
        self.keeper = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", PREPARE, "sh", self.folder],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.keeper.stdout.readline() != "ready\n":
            words = self.keeper.stderr.read()
            self.__exit__()
            raise RuntimeError("cannot make a system of its own: " + words.strip())
        children = "/proc/%d/task/%d/children" % (self.keeper.pid, self.keeper.pid)
        with open(children) as file:
            self.first = file.read().split()[0]
        return self

    def __exit__(self, *_):
        self.keeper.send_signal(signal.SIGKILL)
        self.keeper.wait()
        self.keeper.stdout.close()
        self.keeper.stderr.close()
        for _ in range(100):
            try:
                os.rmdir(self.folder)
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("cannot remove " + self.folder)

    def command(self, arguments):
        return ["nsenter", "--target", self.first, "--mount", "--pid", "--", "chroot", self.folder + "/root"] + arguments

    def run(self, *arguments, check=True, timeout=120):
        """The finished process, with output and errors as one text."""
        done = subprocess.run(self.command(list(arguments)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}, check=False)
        if check and done.returncode != 0:
            raise AssertionError("%s ended with %d:\n%s" % (" ".join(arguments), done.returncode, done.stdout))
        return done

    def start(self, *arguments):
        """A process in the background; its output goes to /tmp/log."""
        script = 'exec "$@" >>/tmp/log 2>&1'
        return subprocess.Popen(self.command(["sh", "-c", script, "sh"] + list(arguments)), stdin=subprocess.DEVNULL)

    def copy(self, source, target):
        """A file from outside. /tmp is a file system that only the inside sees."""
        with open(source, "rb") as file:
            subprocess.run(self.command(["sh", "-c", 'cat >"$1"', "sh", target]), stdin=file, check=True)

    def read(self, path):
        return self.run("cat", path).stdout


def unavailable():
    """Why no such system can be made here, or an empty string."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("unshare", "nsenter", "dpkg", "dpkg-deb"):
        if shutil.which(program) is None:
            return program + " is not installed"
    return ""
