"""Builds what a guest boots: a Debian root file system as an ext4 image, Debian's cloud kernel and a small initrd.

Kept under .cache/vm/KEY, where KEY is of everything that it is made from; other keys' folders are removed when a new one is built.
"""
import glob
import gzip
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.abspath(os.path.join(HERE, "../../.cache/vm"))
SUITE = "bookworm"
IMAGE_MEGABYTES = 1200

# What berthd is linked with; what the tests run; what makes a machine of it.
PACKAGES = """
libprotobuf32 libspdlog1.10 libsqlite3-0 libbtrfsutil1 libisal2 libzstd1 zlib1g libssl3 libre2-9 libtomlplusplus3 libstdc++6
containerd runc crun busybox-static python3 e2fsprogs btrfs-progs xfsprogs procps util-linux bsdutils mount attr tar gzip zstd iproute2
docker-registry strace
systemd systemd-sysv udev dbus kmod apparmor
""".split()
# Started by Debian's packages, or by timers; of no use here.
DISABLED = """
containerd.service docker-registry.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
e2scrub_reap.service fstrim.timer systemd-timesyncd.service getty@tty1.service apparmor.service
""".split()
INITRD_MODULES = ["virtio_pci", "virtio_blk", "ext4", "overlay"]

# Runs in the image's folder after installation.
CONFIGURATION = {
    "etc/hostname": "berth-vm\n",
    "etc/hosts": "127.0.0.1 localhost berth-vm\n",
    "etc/resolv.conf": "",
    "etc/fstab": "# the initrd mounts / and /payload\n/dev/vdc /var/lib/berth ext4 x-systemd.device-timeout=60,"
                 # As little as possible reaches the disk that nobody asked to be synced.
                 "noauto_da_alloc,commit=600 0 0\n",
    "etc/sysctl.d/berth-vm.conf": "vm.dirty_expire_centisecs=360000\nvm.dirty_writeback_centisecs=360000\n"
                                  "vm.dirty_ratio=60\nvm.dirty_background_ratio=50\n",
    "etc/systemd/journald.conf.d/berth-vm.conf": "[Journal]\nStorage=volatile\n",
    "etc/systemd/system.conf.d/berth-vm.conf": "[Manager]\nDefaultTimeoutStartSec=300\nDefaultTimeoutStopSec=60\n",
    # `run shell` asks for it on the kernel's command line.
    "etc/systemd/system/serial-getty@ttyS0.service.d/berth-vm.conf":
        "[Unit]\nConditionKernelCommandLine=berth.shell\n[Service]\nExecStart=\n"
        "ExecStart=-/sbin/agetty -o '-p -- \\\\u' --autologin root --keep-baud 115200 %I vt220\n",
    "etc/systemd/system/berth-vm-agent.service":
        "[Unit]\nDescription=Runs what the host of this virtual machine asks for\nDefaultDependencies=no\n"
        "After=local-fs.target dbus.socket systemd-udevd.service systemd-modules-load.service\n"
        "[Service]\nExecStart=/usr/bin/python3 /payload/guest/agent.py\nEnvironment=HOME=/root LC_ALL=C\nOOMScoreAdjust=-1000\n"
        "LimitNOFILE=65536\nTasksMax=infinity\nDelegate=yes\n[Install]\nWantedBy=multi-user.target\n",
    "etc/modules-load.d/berth-vm.conf": "virtio_console\noverlay\nloop\nveth\n",
}


class CannotBuild(Exception):
    """The machine lacks something that a guest is made from."""


def _run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **more)
    if done.returncode != 0:
        raise CannotBuild("%s failed:\n%s" % (command[0], "\n".join(done.stdout.strip().splitlines()[-15:])))
    return done.stdout


def package_sources():
    """Files of the machine's own apt sources that have the guest's suite."""
    found = []
    for path in ["/etc/apt/sources.list"] + sorted(glob.glob("/etc/apt/sources.list.d/*.list") + glob.glob("/etc/apt/sources.list.d/*.sources")):
        if os.path.exists(path):
            with open(path) as file:
                if SUITE + " " in file.read().replace("\n", " "):
                    found.append(path)
    return found


def key():
    digest = hashlib.sha256()
    for path in (os.path.abspath(__file__), os.path.join(HERE, "guest/initrd.sh")):
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()[:16]


def install(folder, downloads):
    """Debian's packages into `folder`, and the kernel's package into `downloads`: nothing in the guest needs it installed."""
    download = ('cd "%s" && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && apt-get -q download "$(apt-cache depends linux-image-cloud-amd64 '
                '| sed -n \'s/^ *Depends: \\(linux-image-[0-9].*\\)/\\1/p\' | head -n 1)"' % downloads)
    options = ["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=APT::Sandbox::User \"root\""]
    options += ["--dpkgopt=path-exclude=/usr/share/%s/*" % part for part in ("man", "doc", "locale", "info")]
    _run(["mmdebstrap", "--quiet", "--format=directory", "--variant=minbase", "--include=" + ",".join(PACKAGES), "--customize-hook=" + download] + options +
         [SUITE, folder] + package_sources())
    packages = glob.glob(os.path.join(downloads, "linux-image-*.deb"))
    if len(packages) != 1:
        raise CannotBuild("the kernel's package was not downloaded")
    _run(["dpkg-deb", "-x", packages[0], downloads])
    return os.listdir(os.path.join(downloads, "lib/modules"))[0]


def configure(folder):
    for name, text in CONFIGURATION.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as out:
            out.write(text)
    units = os.path.join(folder, "etc/systemd/system")
    for name in DISABLED:
        path = os.path.join(units, name)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink("/dev/null", path)
    wants = os.path.join(units, "multi-user.target.wants")
    os.makedirs(wants, exist_ok=True)
    os.symlink("../berth-vm-agent.service", os.path.join(wants, "berth-vm-agent.service"))
    os.makedirs(os.path.join(folder, "payload"), exist_ok=True)
    os.makedirs(os.path.join(folder, "var/lib/berth"), exist_ok=True)
    _run(["chroot", folder, "passwd", "-d", "root"])


def modules_in_order(folder, wanted):
    """Files of modules with what they depend on before them; those that are built in have none."""
    needs, order = {}, []
    with open(os.path.join(folder, "modules.dep")) as dep:
        for line in dep:
            name, _, rest = line.partition(":")
            needs[os.path.basename(name).split(".")[0].replace("-", "_")] = (name, rest.split())

    def add(path):
        for dependency in needs[os.path.basename(path).split(".")[0].replace("-", "_")][1]:
            if dependency not in order:
                add(dependency)
        if path not in order:
            order.append(path)

    for name in wanted:
        if name in needs:
            add(needs[name][0])
    return order


def cpio(entries):
    """An archive of format newc. entries: (name, mode, content)."""
    out = bytearray()
    for number, (name, mode, data) in enumerate(list(entries) + [("TRAILER!!!", 0, b"")], 1):
        raw = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0]
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def make_initrd(path, folder, modules):
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "proc", "sys", "root", "modules")]
    with open(os.path.join(folder, "bin/busybox"), "rb") as busybox:
        entries.append(("bin/busybox", stat.S_IFREG | 0o755, busybox.read()))
    names = []
    for number, module in enumerate(modules_in_order(modules, INITRD_MODULES)):
        names.append("modules/%02d-%s" % (number, os.path.basename(module)))
        with open(os.path.join(modules, module), "rb") as file:
            entries.append((names[-1], stat.S_IFREG | 0o644, file.read()))
    with open(os.path.join(HERE, "guest/initrd.sh"), "rb") as script:
        entries.append(("init", stat.S_IFREG | 0o755, script.read()))
    with open(path, "wb") as out:
        out.write(gzip.compress(cpio(entries), 6, mtime=0))


def build():
    """The folder with root.ext4, vmlinuz and initrd. Raises CannotBuild."""
    folder = os.path.join(CACHE, key())
    if os.path.exists(os.path.join(folder, "initrd")):
        return folder
    for program in ("mmdebstrap", "mke2fs", "dpkg-deb"):
        if shutil.which(program) is None:
            raise CannotBuild("%s is not installed" % program)
    if not package_sources():
        raise CannotBuild("no package source of this machine has the suite " + SUITE)
    shutil.rmtree(CACHE, ignore_errors=True)
    os.makedirs(CACHE)
    with tempfile.TemporaryDirectory(prefix="build-", dir=CACHE) as place:
        root, downloads, done = (os.path.join(place, name) for name in ("root", "kernel", "done"))
        os.mkdir(downloads)
        os.mkdir(done)
        version = install(root, downloads)
        configure(root)
        modules = os.path.join(root, "lib/modules", version)
        shutil.copytree(os.path.join(downloads, "lib/modules", version), modules, symlinks=True)
        _run(["chroot", root, "depmod", version])
        image = os.path.join(done, "root.ext4")
        _run(["mke2fs", "-q", "-t", "ext4", "-d", root, "-L", "root", image, "%dM" % IMAGE_MEGABYTES])
        shutil.copy(os.path.join(downloads, "boot/vmlinuz-" + version), os.path.join(done, "vmlinuz"))
        make_initrd(os.path.join(done, "initrd"), root, modules)
        os.rename(done, folder)
    return folder
