"""What a test takes from the machine, gives back, and can lose: processes, mounts, cgroups, loop devices."""
import ctypes
import os
import signal
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36
# How much slower than a machine of its own this one is: tests/vm sets it. Time limits are that much longer.
SLOWNESS = float(os.environ.get("BERTH_SLOWNESS", "1"))
CGROUP_ROOT = "/sys/fs/cgroup"


def adopt_orphans():
    """Shims leave their parents: from now on they become children of this process and not of init."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of():
    """Parent process id -> ids of its children."""
    tree = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if fields[0] != "Z":
                tree.setdefault(int(fields[1]), []).append(int(entry))
    return tree


def descendants(pid):
    tree, found, todo = children_of(), [], [pid]
    while todo:
        children = tree.get(todo.pop(), [])
        found += children
        todo += children
    return found


def reap():
    """Collects zombies that were adopted. Only when no subprocess of this program is being waited for."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def command_line(pid):
    try:
        with open("/proc/%d/cmdline" % pid) as file:
            return file.read().replace("\0", " ").strip()
    except OSError:
        return ""


def kill_all(pids):
    for _ in range(50):
        alive = [pid for pid in pids if os.path.exists("/proc/%d" % pid)]
        if not alive:
            return
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        time.sleep(0.02)


def mounts_under(folder):
    """Mount points at or under `folder`, innermost first."""
    points = []
    with open("/proc/self/mountinfo") as info:
        for line in info:
            point = line.split()[4].encode().decode("unicode_escape")
            if point == folder or point.startswith(folder + "/"):
                points.append(point)
    return list(reversed(points))


def unmount_under(folder):
    for point in mounts_under(folder):
        subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL)


def loop_devices_under(folder):
    listing = subprocess.run(["losetup", "-l", "-n", "-O", "NAME,BACK-FILE"], capture_output=True, text=True)
    return [line.split()[0] for line in listing.stdout.splitlines() if folder in line]


def cgroups_named(name):
    """Directories called `name` in any hierarchy, of either version, outermost first."""
    return [os.path.join(parent, name) for parent, folders, _ in os.walk(CGROUP_ROOT) if name in folders]


def remove_cgroup(folder):
    for parent, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(parent)
        except OSError:
            pass
