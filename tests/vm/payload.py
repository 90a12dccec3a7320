"""The disk with what a guest is to test: an installed berthd, the integration tests, and the programs of tests/vm/guest.

    /root/...        laid over the guest's root by its initrd: berthd as `cmake --install` places it, its unit enabled
    /guest           tests/vm/guest
    /integration     tests/integration, and raw_call
    /vm-scenarios    tests/vm/scenarios
    /unit            the programs of unit_tests.py
    /base.tar, .gz   the layer of busybox that all images of the power loss have

Or, for what is about packages: no berthd, and in its place

    /debs/new, old   the packages that scripts/package has built, and the same with a lower version
"""
import glob
import gzip
import os
import re
import shutil
import subprocess
import sys

import unit_tests
from guest_root import CannotBuild

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.abspath(os.path.join(HERE, "../.."))
sys.path[:0] = [os.path.join(SOURCE, "tests/integration"), os.path.join(SOURCE, "tests/packages")]
import make_image  # noqa: E402  pylint: disable=wrong-import-position
import older  # noqa: E402  pylint: disable=wrong-import-position
UNIT = "berthd.service"
CONFIG = """version = 3
[grpc]
address = "/run/berth/berth.sock"
"""


def _components(build):
    """The parts of the installation that make a daemon: the host and every plugin that has been built."""
    found = ["host", "ctl", "api", "shim"]
    for name in sorted(os.listdir(os.path.join(build, "plugins"))):
        plugin = re.fullmatch(r"berth-plugin-(.*)\.so", name)
        if plugin:
            found.append("plugin-" + plugin.group(1))
    return found


def _install(build, root):
    for component in _components(build):
        done = subprocess.run(["cmake", "--install", build, "--component", component, "--strip"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, env=dict(os.environ, DESTDIR=root), check=False)
        if done.returncode != 0:
            raise CannotBuild("cmake --install of %s failed: %s" % (component, done.stdout.strip().splitlines()[-3:]))
    # Debian's folders for programs are links into /usr, which a copy over them must not replace.
    for name in ("bin", "sbin", "lib"):
        if os.path.exists(os.path.join(root, name)):
            raise CannotBuild("the installation has /%s; give it a prefix" % name)


def _find_unit(root):
    for parent, _, files in os.walk(root):
        if UNIT in files:
            return "/" + os.path.relpath(os.path.join(parent, UNIT), root)
    raise CannotBuild("the installation has no " + UNIT)


def _leave_out_syncs(root, calls):
    """A daemon that lies about these system calls: a test of what it stores has to fail."""
    library = os.path.join(root, "usr/local/lib/no_sync.so")
    os.makedirs(os.path.dirname(library), exist_ok=True)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, os.path.join(HERE, "guest/no_sync.c")], check=True)
    drop_in = os.path.join(root, "etc/systemd/system/%s.d/no-sync.conf" % UNIT)
    os.makedirs(os.path.dirname(drop_in))
    with open(drop_in, "w") as out:
        out.write('[Service]\nEnvironment=LD_PRELOAD=/usr/local/lib/no_sync.so "BERTH_NO_SYNC= %s "\n' % calls.replace(",", " "))


def _copy_tests(work):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(os.path.join(HERE, "guest"), os.path.join(work, "guest"), ignore=ignored)
    shutil.copytree(os.path.join(HERE, "scenarios"), os.path.join(work, "vm-scenarios"))
    shutil.copytree(os.path.join(SOURCE, "tests/integration"), os.path.join(work, "integration"), ignore=ignored)


def _write_disk(work, disk):
    """Moves the folder's content to an image."""
    size = int(subprocess.run(["du", "-sm", work], capture_output=True, text=True, check=True).stdout.split()[0])
    done = subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", work, "-L", "payload", disk, "%dM" % (size * 5 // 4 + 16)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    shutil.rmtree(work)
    if done.returncode != 0:
        raise CannotBuild("mke2fs of the payload failed: " + done.stdout.strip())


def make(build, disk, work, without=""):
    """Writes the image `disk`; `work` is a folder for its content, removed at the end. `without` names system calls that shall do nothing."""
    root = os.path.join(work, "root")
    os.makedirs(root)
    _install(build, root)
    wants = os.path.join(root, "etc/systemd/system/multi-user.target.wants")
    os.makedirs(wants)
    os.symlink(_find_unit(root), os.path.join(wants, UNIT))
    os.makedirs(os.path.join(root, "etc/berth"))
    with open(os.path.join(root, "etc/berth/config.toml"), "w") as out:
        out.write(CONFIG)
    if without:
        _leave_out_syncs(root, without)
    _copy_tests(work)
    shutil.copy(os.path.join(build, "tests/raw_call"), os.path.join(work, "integration/raw_call"))
    subprocess.run(["strip", os.path.join(work, "integration/raw_call")], check=True)
    unit = os.path.join(work, "unit")
    os.makedirs(unit)
    for name in unit_tests.PROGRAMS:
        shutil.copy(os.path.join(build, "tests", name), unit)
    subprocess.run(["strip"] + [os.path.join(unit, name) for name in unit_tests.PROGRAMS], check=True)
    base = make_image.base_layer()
    for name, data in (("base.tar", base), ("base.tar.gz", gzip.compress(base, 1, mtime=0))):
        with open(os.path.join(work, name), "wb") as out:
            out.write(data)
    _write_disk(work, disk)


def make_with_packages(packages, disk, work):
    """Likewise, with the packages of a folder to be installed in the guest: all that need nothing which the guest has not."""
    new, old = os.path.join(work, "debs/new"), os.path.join(work, "debs/old")
    for folder in (os.path.join(work, "root"), new, old):
        os.makedirs(folder)
    for path in glob.glob(packages + "/*.deb"):
        if not re.search("^berth-dev_|-dbgsym_", os.path.basename(path)):
            shutil.copy(path, new)
    if not os.listdir(new):
        raise CannotBuild("there are no packages in %s; scripts/package builds them" % packages)
    older.make(new, old)
    _copy_tests(work)
    _write_disk(work, disk)
