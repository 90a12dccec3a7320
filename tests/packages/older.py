#!/usr/bin/python3
"""Makes packages of a lower version out of those of this build, as what an upgrade begins with.

    older.py FOLDER-OF-PACKAGES FOLDER-TO-WRITE [PACKAGE...]

The programs are the same. The unit has a line more, OLDER in its environment, which tells a daemon of the older packages from one of the newer.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

VERSION = "0.0.1~older"
UNIT = "lib/systemd/system/berthd.service"


def _output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _age(folder):
    control = os.path.join(folder, "DEBIAN/control")
    with open(control) as file:
        text = file.read()
    version = re.search(r"^Version: (.*)$", text, re.MULTILINE).group(1)
    # Packages of one source ask one another for exactly their version; what plugins provide has versions of its own.
    lines = []
    for line in text.splitlines():
        if line.startswith(("Depends:", "Recommends:", "Suggests:")):
            line = line.replace("(= %s)" % version, "(= %s)" % VERSION)
        lines.append(re.sub("^Version: .*", "Version: " + VERSION, line))
    with open(control, "w") as file:
        file.write("\n".join(lines) + "\n")
    for unit in glob.glob(os.path.join(folder, "*", UNIT)) + glob.glob(os.path.join(folder, UNIT)):
        with open(unit) as file:
            text = file.read()
        with open(unit, "w") as file:
            file.write(text.replace("[Service]\n", "[Service]\nEnvironment=OLDER=yes\n"))


def make(packages, target, names=()):
    """Paths of the older packages by name; of all but those of debug information, or of `names`."""
    made = {}
    for path in sorted(glob.glob(packages + "/*.deb")):
        name = _output("dpkg-deb", "-f", path, "Package")
        if name.endswith("-dbgsym") or (names and name not in names):
            continue
        with tempfile.TemporaryDirectory(prefix="berth-older-") as folder:
            _output("dpkg-deb", "-R", path, folder)
            _age(folder)
            made[name] = os.path.join(target, "%s_%s.deb" % (name, VERSION))
            _output("dpkg-deb", "-Znone", "--root-owner-group", "-b", folder, made[name])
    return made


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    os.makedirs(sys.argv[2], exist_ok=True)
    for made_path in make(sys.argv[1], sys.argv[2], sys.argv[3:]).values():
        print(made_path)
