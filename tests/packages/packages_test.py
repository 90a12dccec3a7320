#!/usr/bin/python3
"""The Debian packages that scripts/package has built, installed in several sets into a system of their own: what is left out is absent and
says so, and everything else works.

    packages_test.py FOLDER-OF-PACKAGES [unittest options]
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

import chroot

HERE = os.path.dirname(os.path.abspath(__file__))
MAKE_IMAGE = os.path.join(HERE, "..", "integration", "make_image.py")
IMAGE = "docker.io/library/busybox:latest"
PACKAGES = {}

HOST = ["berth", "libberth-api0", "berthctl"]
WITHOUT_RUNTIME = HOST + ["berth-plugin-" + name for name in
                          ("content", "metadata", "gc", "events", "services", "diff-walking", "snapshot-overlay")]
STANDARD = WITHOUT_RUNTIME + ["berth-plugin-runtime-runc", "berth-shim", "berth-plugins-standard"]


def field(package, name):
    return subprocess.run(["dpkg-deb", "-f", PACKAGES[package], name], capture_output=True, text=True, check=True).stdout.strip()


def relations(package, name):
    """The names in a field."""
    return [re.split(r"[ (]", one.strip())[0] for one in field(package, name).split(",") if one.strip()]


def contents(package):
    listing = subprocess.run(["dpkg-deb", "-c", PACKAGES[package]], capture_output=True, text=True, check=True).stdout
    return [line.split()[5].lstrip(".") for line in listing.splitlines() if not line.endswith("/")]


class System(chroot.Chroot):
    """With a daemon from packages."""

    daemon = None

    def install(self, *packages, check=True):
        self.run("mkdir", "-p", "/tmp/debs")
        paths = []
        for package in packages:
            path = "/tmp/debs/" + os.path.basename(PACKAGES[package])
            self.copy(PACKAGES[package], path)
            paths.append(path)
        return self.run("dpkg", "-i", *paths, check=check)

    def begin(self):
        self.daemon = self.start("/usr/bin/berthd")
        for _ in range(200):
            if self.ctr("version", check=False).returncode == 0:
                return
            if self.daemon.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError("berthd does not answer:\n" + self.read("/tmp/log"))

    def end(self):
        self.run("pkill", "-TERM", "-x", "berthd")
        if self.daemon.wait(20) != 0:
            raise AssertionError("berthd ended with %d:\n%s" % (self.daemon.returncode, self.read("/tmp/log")))

    def ctr(self, *arguments, check=True):
        return self.run("ctr", "--address", "/run/berth/berth.sock", *arguments, check=check)

    def mapped(self):
        """Files whose code the daemon maps."""
        maps = self.run("sh", "-c", "cat /proc/$(pgrep -x berthd)/maps").stdout
        return {os.path.basename(line.split()[-1]) for line in maps.splitlines() if "/" in line}

    def plugins(self):
        """Id -> status, as `ctr plugins ls` prints them."""
        lines = self.ctr("plugins", "ls").stdout.splitlines()[1:]
        return {line.split()[1]: line.split()[-1] for line in lines if line.strip()}

    def import_image(self):
        subprocess.run(["/usr/bin/python3", MAKE_IMAGE, os.path.join("/tmp", "berth-packages-image.tar")], check=True)
        try:
            self.copy("/tmp/berth-packages-image.tar", "/tmp/image.tar")
        finally:
            os.remove("/tmp/berth-packages-image.tar")
        return self.ctr("images", "import", "/tmp/image.tar")


class RelationsTest(unittest.TestCase):
    def test_only_btrfs_pulls_the_library_of_btrfs(self):
        pullers = [name for name in PACKAGES if any("btrfs" in one for one in relations(name, "Depends"))]
        self.assertEqual(pullers, ["berth-plugin-snapshot-btrfs"])

    def test_plugins_depend_on_the_abi_and_on_what_they_need(self):
        provided = relations("berth", "Provides")
        for name in PACKAGES:
            if name.startswith("berth-plugin-"):
                abi = [one for one in relations(name, "Depends") if one.startswith("berth-abi-")]
                self.assertEqual(abi, provided, name)
        self.assertIn("berth-io.containerd.content.v1+containerd.services.content.v1.content", relations("berth-plugin-metadata", "Depends"))
        self.assertIn("berth-io.containerd.content.v1+containerd.services.content.v1.content", relations("berth-plugin-content", "Provides"))
        # The service plugins are many in one file, and most of them run without tasks.
        tasks = "berth-io.containerd.runtime.v2+containerd.services.tasks.v1.tasks"
        self.assertNotIn(tasks, relations("berth-plugin-services", "Depends"))
        self.assertIn(tasks, relations("berth-plugin-services", "Recommends"))

    def test_the_host_needs_no_plugin(self):
        self.assertFalse([one for one in relations("berth", "Depends") if "plugin" in one or "io.containerd" in one])

    def test_each_file_is_in_one_package(self):
        owners = {}
        for name in PACKAGES:
            for path in contents(name):
                self.assertNotIn(path, owners, "both %s and %s" % (owners.get(path), name))
                owners[path] = name
        plugins = [path for path in owners if path.endswith(".so") and "/berth/plugins/" in path]
        self.assertEqual({owners[path] for path in plugins}, {name for name in PACKAGES if name.startswith("berth-plugin-")})


class SetsTest(unittest.TestCase):
    def setUp(self):
        self.system = System()
        self.system.__enter__()
        self.addCleanup(self.system.__exit__)

    def test_a_plugin_without_what_it_needs_is_not_installed(self):
        done = self.system.install(*HOST, "berth-plugin-metadata", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("berth-io.containerd.content.v1+containerd.services.content.v1.content", done.stdout)

    def test_the_host_alone(self):
        system = self.system
        system.install(*HOST)
        self.assertEqual(system.run("sh", "-c", "ls /usr/lib/*/berth/plugins 2>/dev/null", check=False).stdout, "")
        system.begin()
        self.assertFalse([name for name in system.mapped() if name.startswith("berth-plugin-")])
        done = system.ctr("images", "ls", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("containerd.services.images.v1.Images", done.stdout)
        system.end()

    def test_without_a_runtime(self):
        system = self.system
        system.install(*WITHOUT_RUNTIME)
        system.begin()
        self.assertNotIn("berth-plugin-runtime-runc.so", system.mapped())
        system.import_image()
        self.assertIn(IMAGE, system.ctr("images", "ls", "-q").stdout)
        self.assertNotEqual(system.plugins()["tasks"], "ok")
        done = system.ctr("run", "--rm", IMAGE, "c1", "true", check=False)
        self.assertNotEqual(done.returncode, 0)
        # Who is missing, and not only that something is.
        self.assertIn("io.containerd.runtime.v2", done.stdout)
        why = system.run("berthctl", "plugin", "why", "io.containerd.grpc.v1.tasks", "--address", "/run/berth/berth.sock", check=False)
        self.assertIn("io.containerd.runtime.v2", why.stdout)
        system.end()

    def test_the_usual_set_runs_a_container(self):
        system = self.system
        system.install(*STANDARD)
        system.begin()
        self.assertFalse([name for name in system.mapped() if "btrfs" in name])
        system.import_image()
        self.assertEqual(system.ctr("run", "--rm", IMAGE, "c1", "echo", "from a package").stdout, "from a package\n")
        done = system.ctr("snapshots", "--snapshotter", "btrfs", "ls", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("btrfs", done.stdout)
        mode, group = system.run("stat", "-c", "%a %G", "/run/berth/berth.sock").stdout.split()
        self.assertEqual((mode, group), ("660", "berth"))
        system.end()

    def test_one_more_plugin_needs_a_restart_only(self):
        system = self.system
        system.install(*STANDARD)
        system.begin()
        system.import_image()
        self.assertNotIn("native", system.plugins())
        system.install("berth-plugin-snapshot-native")
        system.end()
        system.begin()
        self.assertEqual(system.plugins()["native"], "ok")
        out = system.ctr("run", "--snapshotter", "native", "--rm", IMAGE, "c1", "echo", "copied", check=False)
        if out.returncode != 0:  # unpacked for the other snapshotter only
            system.ctr("images", "import", "--snapshotter", "native", "/tmp/image.tar")
            out = system.ctr("run", "--snapshotter", "native", "--rm", IMAGE, "c1", "echo", "copied")
        self.assertEqual(out.stdout, "copied\n")
        system.end()
        # And without it again.
        system.run("dpkg", "-r", "berth-plugin-snapshot-native")
        system.begin()
        self.assertNotIn("native", system.plugins())
        self.assertIn(IMAGE, system.ctr("images", "ls", "-q").stdout)
        system.end()

    def test_everything(self):
        system = self.system
        system.install(*PACKAGES)
        system.begin()
        system.import_image()
        self.assertEqual(system.ctr("run", "--rm", IMAGE, "c1", "echo", "all of it").stdout, "all of it\n")
        self.assertEqual(system.plugins()["btrfs"], "skip")
        system.end()
        system.run("dpkg", "--purge", *PACKAGES)
        self.assertEqual(system.run("sh", "-c", "ls -d /usr/bin/berthd /usr/lib/*/berth /etc/berth/* 2>/dev/null", check=False).stdout, "")


THIRD_PARTY = {
    "control": """Source: greeter
Section: admin
Priority: optional
Maintainer: Somebody <somebody@example.org>
Build-Depends: debhelper-compat (= 13), dh-sequence-berth, cmake
Standards-Version: 4.6.2

Package: berth-plugin-greeter
Architecture: any
Depends: ${misc:Depends}, ${shlibs:Depends}, ${berth:Depends}
Recommends: ${berth:Recommends}
Suggests: ${berth:Suggests}
Provides: ${berth:Provides}
Description: greets
 A plugin that nobody of Berth knows.
""",
    "changelog": """greeter (1.0) unstable; urgency=medium

  * First.

 -- Somebody <somebody@example.org>  Thu, 26 Nov 2026 12:00:00 +0000
""",
    "rules": """#!/usr/bin/make -f
%:
\tdh $@ --buildsystem=cmake
override_dh_auto_test:
""",
}


class ThirdPartyTest(unittest.TestCase):
    """A plugin of somebody else, begun with berthctl and packaged with dh_berth, against the installed packages alone."""

    def test_it_is_built_packaged_installed_and_served(self):
        for program in ("dh", "cmake", "protoc-c"):
            if shutil.which(program) is None:
                self.skipTest(program + " is not installed")
        with System() as system:
            system.install(*HOST, "berth-dev")
            system.run("sh", "-c", "cd /tmp && berthctl plugin new --type service --lang c greeter && mkdir greeter/debian")
            for name, text in THIRD_PARTY.items():
                system.run("sh", "-c", 'printf %s "$2" >"/tmp/greeter/debian/$1" && chmod +x /tmp/greeter/debian/rules 2>/dev/null || true',
                           "sh", name, text)
            system.run("sh", "-c", "cd /tmp/greeter && dpkg-buildpackage -b -us -uc")
            package = system.run("sh", "-c", "ls /tmp/berth-plugin-greeter_1.0_*.deb").stdout.strip()
            relations_of = system.run("dpkg-deb", "-f", package, "Depends", "Provides").stdout
            self.assertIn(field("berth", "Provides").replace("(=", "(>="), relations_of)
            self.assertRegex(relations_of, r"Provides: .*berth-[a-z0-9.]*\.greeter \(= ")
            system.run("dpkg", "-i", package)
            system.begin()
            self.assertEqual(system.plugins()["greeter"], "ok")
            self.assertIn("greeter", system.run("berthctl", "plugin", "why", "io.containerd.grpc.v1.greeter", "--address", "/run/berth/berth.sock").stdout)
            system.end()


def main():
    reason = chroot.unavailable()
    if not reason and (len(sys.argv) < 2 or not glob.glob(sys.argv[1] + "/*.deb")):
        reason = "no packages; scripts/package builds them"
    if reason:
        print("SKIPPED: " + reason)
        return 77
    for path in sorted(glob.glob(sys.argv[1] + "/*.deb")):
        PACKAGES[subprocess.run(["dpkg-deb", "-f", path, "Package"], capture_output=True, text=True, check=True).stdout.strip()] = path
    result = unittest.main(argv=[sys.argv[0]] + sys.argv[2:], exit=False, verbosity=2).result
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
