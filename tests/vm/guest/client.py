"""Calls to berthd from the guest, by ctr and raw_call."""
import os
import subprocess

ROOT = "/var/lib/berth"
BLOBS = ROOT + "/io.containerd.content.v1.content/blobs/sha256"
INGESTS = ROOT + "/io.containerd.content.v1.content/ingest"
LAYERS = ROOT + "/io.containerd.snapshotter.v1.overlayfs/snapshots"
NAMESPACE = "power"
ENVIRONMENT = dict(os.environ, CONTAINERD_ADDRESS="/run/berth/berth.sock", CONTAINERD_NAMESPACE=NAMESPACE)


class CallFailed(Exception):
    """The daemon, or a program, said no."""


def run(*command, data=None):
    done = subprocess.run(command, input=data, capture_output=True, env=ENVIRONMENT, check=False)
    if done.returncode != 0:
        raise CallFailed("%s: %s" % (" ".join(command)[:150], done.stderr.decode(errors="replace").strip()[-500:]))
    return done.stdout.decode(errors="replace")


def ctr(*words, data=None):
    return run("ctr", *words, data=data)


def raw_call(method, text):
    return run("/payload/integration/raw_call", "--timeout", "300", "containerd.services." + method, text)


def ids(*words):
    return ctr(*words).split()


def names_in(folder):
    """What lies in a folder of the daemon's; a new daemon has not made it yet."""
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def snapshots():
    """key -> kind."""
    rows = [line.split() for line in ctr("snapshots", "ls").splitlines()[1:]]
    return {row[0]: row[-1] for row in rows}


def mount(key, folder):
    """Mounts a snapshot."""
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["sh", "-ec", ctr("snapshots", "mounts", folder, key)], check=True)


def unmount(folder):
    subprocess.run(["umount", folder], check=True)
