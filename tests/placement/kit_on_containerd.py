#!/usr/bin/env python3
"""The snapshotter kit on snapshotters that are not ours: those of Debian's containerd, through the proxy.

Usage: kit_on_containerd.py BERTHCTL PLUGIN.so SNAPSHOTTER

The plugin's file only gives the kit its type; its code is not part of these cases. containerd has folders of its own, and its collector
waits for longer than any test takes, since nothing that the kit makes has a reason to stay.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

CONTAINERD = "/usr/bin/containerd"
CONFIG = """version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{0}/d.sock"
[plugins."io.containerd.gc.v1.scheduler"]
startup_delay = "100h"
schedule_delay = "100h"
"""

# Where the kit asks for more than containerd 1.6 does, each with what that does instead. A case that passes after all is a failure here,
# so that the list stays true.
KNOWN = {
    "both": {
        "DeepTrees": "it measures by paths, and neither measures nor commits what is deeper than a path may be",
        "Refusals": "an empty key is UNKNOWN and not INVALID_ARGUMENT",
        "WalkFiltersAndAllowsCalls": "a filter that cannot be parsed is UNKNOWN and not INVALID_ARGUMENT",
    },
    "overlayfs": {"KeepsOwnersModesTimesAndAttributes": "the mode of the root directory is not that of the layer below"},
    "native": {
        "KeepsHardLinks": "symbolic links with several names are copied apart",
        "SparseFilesStaySparse": "holes are copied as zeroes",
    },
}


def judge(output, known):
    """0 when every case passed but those that are known not to."""
    print(output)
    cases = {name: verdict for verdict, name in re.findall(r"^(\S+) +\S+ Snapshotter\.(\w+) \(", output, re.M)}
    wrong = [name for name, verdict in cases.items() if (verdict != "ok") != (name in known)]
    missing = set(known) - set(cases)
    for name in wrong:
        print(f"UNEXPECTED: {name} is {cases[name]}" + (f", though {known[name]}" if name in known else ""))
    if len(cases) < 10 or missing:
        print(f"UNEXPECTED: {len(cases)} cases ran, without {sorted(missing)}")
    return 1 if wrong or missing or len(cases) < 10 else 0


def main():
    berthctl, plugin, snapshotter = sys.argv[1:]
    if not os.access(CONTAINERD, os.X_OK):
        print(f"SKIPPED: there is no {CONTAINERD}")
        return 77
    if os.geteuid() != 0:
        print("SKIPPED: containerd needs root")
        return 77
    folder = tempfile.mkdtemp(prefix="berth-kit-")
    daemon = None
    try:
        with open(f"{folder}/config.toml", "w", encoding="utf-8") as file:
            file.write(CONFIG.format(folder))
        with open(f"{folder}/log", "w", encoding="utf-8") as log:
            daemon = subprocess.Popen([CONTAINERD, "--config", f"{folder}/config.toml"], stdout=log, stderr=log)
        for _ in range(200):
            if os.path.exists(f"{folder}/d.sock") or daemon.poll() is not None:
                break
            time.sleep(0.1)
        done = subprocess.run(
            [berthctl, "plugin", "validate", plugin, "--filter", "Snapshotter.*", "--placement", "daemon",
             "--remote", f"{folder}/d.sock", "--snapshotter", snapshotter], check=False, stdout=subprocess.PIPE, text=True)
        return judge(done.stdout, dict(KNOWN["both"], **KNOWN[snapshotter]))
    finally:
        if daemon is not None:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=30)
        # Python's own calls itself for each level, and the deep tree that containerd does not commit is still there.
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=False)


if __name__ == "__main__":
    sys.exit(main())
