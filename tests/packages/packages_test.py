#!/usr/bin/python3
"""The Debian packages that scripts/package has built, installed in several sets into a system of their own: what is left out is absent and
says so, and everything else works.

    packages_test.py FOLDER-OF-PACKAGES BERTHD-IN-ITS-BUILD-FOLDER [unittest options]

With BERTH_UPGRADE_FROM=COMMIT in the environment, an upgrade from the packages of that commit, too, which are built first (from_commit.py).
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import chroot
import from_commit
import older

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
import machine  # noqa: E402  pylint: disable=wrong-import-position
MAKE_IMAGE = os.path.join(HERE, "..", "integration", "make_image.py")
IMAGE = "docker.io/library/busybox:latest"
PACKAGES = {}
DEBUG = {}  # the packages of debug information, by the name of what they are for
ADDRESS = "/run/berth/berth.sock"
BUILT_BERTHD = ""
# Of this run alone, since cgroups are the machine's.
NAMESPACE = "berth-packages-%d" % os.getpid()

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

    def __exit__(self, *_):
        super().__exit__()
        # Where a test has failed its container was alive until now, and processes that were killed hold their cgroup until they are gone.
        for _ in range(100):
            for cgroup in machine.cgroups_named(NAMESPACE):
                machine.remove_cgroup(cgroup)
            if not machine.cgroups_named(NAMESPACE):
                return
            time.sleep(0.05)
        raise RuntimeError("cannot remove the cgroups of " + NAMESPACE)

    def install(self, *packages, check=True, files=None):
        """`files` has other packages of these names."""
        self.run("mkdir", "-p", "/tmp/debs")
        paths = []
        for package in packages:
            source = (files or PACKAGES)[package]
            path = "/tmp/debs/" + os.path.basename(source)
            self.copy(source, path)
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
        return self.run("ctr", "--address", ADDRESS, "--namespace", NAMESPACE, *arguments, check=check)

    def why(self, uri):
        return self.run("berthctl", "plugin", "why", uri, "--address", ADDRESS, check=False)

    def health(self, service=""):
        return self.run("berthctl", "call", "grpc.health.v1.Health/Check", '{"service":"%s"}' % service, "--address", ADDRESS, check=False).stdout

    def task(self, container):
        """The process of a container's task in the system's own numbers, and its state."""
        for line in self.ctr("tasks", "ls").stdout.splitlines():
            if line.split()[0] == container:
                return tuple(line.split()[1:])
        raise AssertionError("no task " + container)

    def end_of(self, container):
        """Waits until the task has ended, removes it and returns its exit code."""
        for _ in range(100):
            if self.task(container)[1] == "STOPPED":
                told = self.ctr("tasks", "rm", container, check=False).stdout
                return int(re.search("exit code ([0-9]+)", told).group(1)) if "exit code" in told else 0
            time.sleep(0.05)
        raise AssertionError("the task does not end")

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

    def test_what_links_the_messages_depends_on_their_library(self):
        linked = set()
        for name, path in PACKAGES.items():
            with tempfile.TemporaryDirectory(prefix="berth-packages-") as folder:
                subprocess.run(["dpkg-deb", "-x", path, folder], check=True)
                for file in elf_files(folder):
                    if re.search(r"\(NEEDED\).*\[libberth-api\.so", readelf("-d", file)):
                        linked.add(name)
                        if "/berth/plugins/" in file:  # with other messages it is not loaded
                            self.assertRegex(readelf("-r", file), r"GLOB_DAT .* berth_api_messages_[0-9a-f]{16} ", file)
        self.assertLess({"berth", "berthctl"}, linked)
        messages, = relations("libberth-api0", "Provides")
        self.assertRegex(messages, r"^libberth-api0-messages-[0-9a-f]{16}$")
        for name in linked:
            self.assertIn(messages, relations(name, "Depends"), name)

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

    def check_absent(self, uri, service, file):
        """What is left out says so wherever one may ask, and none of its code is there."""
        why = self.system.why(uri)
        self.assertEqual((why.returncode, why.stdout.splitlines()[0]), (1, uri + " is not there: no plugin file that could be read has it"))
        self.assertNotIn('"SERVING"', self.system.health(service))
        self.assertNotIn(file, self.system.mapped())

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
        self.assertIn("unknown service containerd.services.images.v1.Images: no plugin provides it", done.stdout)
        for uri, service, file in (("io.containerd.content.v1.content", "containerd.services.content.v1.Content", "berth-plugin-content.so"),
                                   ("io.containerd.snapshotter.v1.overlayfs", "containerd.services.snapshots.v1.Snapshots", "berth-plugin-snapshot-overlay.so")):
            self.check_absent(uri, service, file)
            self.assertIn("NOT_FOUND", system.health(service))
        # It lacks nothing that it was meant to have.
        self.assertIn('"SERVING"', system.health())
        self.assertEqual(set(system.plugins().values()), {"ok"})
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
        self.check_absent("io.containerd.runtime.v2.task", "containerd.services.tasks.v1.Tasks", "berth-plugin-runtime-runc.so")
        self.assertIn("io.containerd.runtime.v2", system.why("io.containerd.grpc.v1.tasks").stdout)
        self.assertIn("io.containerd.runtime.v2", system.run("berthd", "config", "check", check=False).stdout)
        # Who asks for tasks, or for all, is told; everything else works.
        self.assertIn('"NOT_SERVING"', system.health("containerd.services.tasks.v1.Tasks"))
        self.assertIn('"NOT_SERVING"', system.health())
        self.assertIn('"SERVING"', system.health("containerd.services.content.v1.Content"))
        self.assertEqual({name: status for name, status in system.plugins().items() if status != "ok"}, {"tasks": "error"})
        system.ctr("containers", "create", IMAGE, "c2")
        self.assertIn("c2", system.ctr("containers", "ls", "-q").stdout)
        self.assertIn("bin", system.run("sh", "-c", "mkdir /tmp/m && ctr --address %s --namespace %s images mount %s /tmp/m && ls /tmp/m"
                                        % (ADDRESS, NAMESPACE, IMAGE)).stdout)
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
        self.assertIn("snapshotter not loaded: btrfs", done.stdout)
        self.check_absent("io.containerd.snapshotter.v1.btrfs", "no.such.Service", "berth-plugin-snapshot-btrfs.so")
        self.assertFalse([name for name in system.mapped() if "libbtrfs" in name])
        self.assertIn('"SERVING"', system.health())
        self.assertEqual(set(system.plugins().values()), {"ok"})
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
        # It is there and says why it does not run here; a plugin that the machine cannot have is no fault of the rest.
        self.assertIn("btrfs", system.why("io.containerd.snapshotter.v1.btrfs").stdout)
        self.assertIn('"SERVING"', system.health())
        system.end()
        system.run("dpkg", "--purge", *PACKAGES)
        self.assertEqual(system.run("sh", "-c", "ls -d /usr/bin/berthd /usr/lib/*/berth /etc/berth/* 2>/dev/null", check=False).stdout, "")


class UpgradeTest(unittest.TestCase):
    """Without systemd: nobody restarts the daemon but this test. tests/vm has the same with it."""

    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="berth-packages-older-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.system = System()
        self.system.__enter__()
        self.addCleanup(self.system.__exit__)

    def start_a_container(self):
        self.system.import_image()
        self.system.ctr("run", "-d", IMAGE, "c1", "sh", "-c", 'trap "exit 7" TERM; while :; do sleep 0.1; done')
        return self.system.task("c1")

    def test_containers_go_on_through_an_upgrade(self):
        system = self.system
        system.install(*STANDARD, files=older.make(os.path.dirname(PACKAGES["berth"]), self.folder, STANDARD))
        system.begin()
        before = self.start_a_container()
        system.install(*STANDARD)
        versions = system.run("dpkg-query", "-W", "-f", "${Version}\n", *STANDARD).stdout.split()
        self.assertEqual(set(versions), {field("berth", "Version")})
        # The older daemon is still there, with the files of the newer packages beside it, and serves.
        self.assertEqual(system.task("c1"), before)
        self.assertEqual(system.ctr("run", "--rm", IMAGE, "c2", "echo", "meanwhile").stdout, "meanwhile\n")
        system.end()
        system.begin()
        self.assertEqual(system.task("c1"), before)
        self.assertEqual(system.ctr("tasks", "exec", "--exec-id", "e1", "c1", "echo", "the same").stdout, "the same\n")
        system.ctr("tasks", "kill", "-s", "TERM", "c1")
        self.assertEqual(system.end_of("c1"), 7)
        system.end()

    def what_is_kept(self):
        """What a user has made, as the daemon tells it."""
        return {" ".join(words): self.system.ctr(*words).stdout for words in (
            ("images", "ls"), ("content", "ls", "-q"), ("snapshots", "ls"), ("snapshots", "tree"), ("containers", "ls"), ("leases", "ls"), ("namespaces", "ls"))}

    @unittest.skipUnless(os.environ.get("BERTH_UPGRADE_FROM"), "an upgrade from other sources: name a commit in BERTH_UPGRADE_FROM")
    def test_containers_go_on_through_an_upgrade_from_other_sources(self):
        system = self.system
        # Of the same version, perhaps: it is lowered.
        packages = older.make(from_commit.packages_of(os.environ["BERTH_UPGRADE_FROM"]), self.folder)
        system.install(*(name for name in STANDARD if name in packages), files=packages)
        system.begin()
        before = self.start_a_container()
        system.ctr("images", "label", IMAGE, "of=the older")
        system.ctr("snapshots", "prepare", "kept")
        system.ctr("containers", "create", IMAGE, "made")
        system.ctr("leases", "create", "--id", "held")
        # What nothing refers to is collected now and not between the two looks.
        system.ctr("images", "tag", IMAGE, "docker.io/library/busybox:gone")
        system.ctr("images", "rm", "--sync", "docker.io/library/busybox:gone")
        kept = self.what_is_kept()
        self.assertIn("the older", kept["images ls"])
        shim = system.run("pgrep", "-f", "[c]ontainerd-shim-runc-v2").stdout.split()
        program = system.run("sha256sum", "/proc/%s/exe" % shim[0]).stdout.split()[0]

        system.install(*STANDARD)
        self.assertNotEqual(system.run("sha256sum", "/usr/libexec/berth/containerd-shim-runc-v2").stdout.split()[0], program,
                            "the sources are the same")
        # The older daemon with the newer shim, the files of the newer daemon beside it.
        self.assertEqual(system.task("c1"), before)
        self.assertEqual(system.ctr("run", "--rm", IMAGE, "c2", "echo", "meanwhile").stdout, "meanwhile\n")
        system.end()
        # The newer daemon with the older shim, and on the older one's databases.
        system.begin()
        self.assertEqual(set(system.plugins().values()), {"ok"})
        self.assertEqual(self.what_is_kept(), kept)
        self.assertEqual(system.task("c1"), before)
        self.assertEqual(system.run("pgrep", "-f", "[c]ontainerd-shim-runc-v2").stdout.split(), shim)
        self.assertEqual(system.ctr("tasks", "exec", "--exec-id", "e1", "c1", "echo", "the same").stdout, "the same\n")
        self.assertIn("c1", system.ctr("tasks", "metrics", "c1").stdout)
        self.assertEqual(system.ctr("run", "--rm", IMAGE, "c3", "echo", "afterwards").stdout, "afterwards\n")
        system.ctr("tasks", "start", "-d", "made", check=False)  # ends at once: it has no terminal
        system.ctr("tasks", "kill", "-s", "TERM", "c1")
        self.assertEqual(system.end_of("c1"), 7)
        # What the older one has unpacked goes with its image.
        system.ctr("tasks", "kill", "-s", "KILL", "made", check=False)
        system.end_of("made")
        system.ctr("containers", "rm", "c1", "made")
        system.ctr("snapshots", "rm", "kept")
        system.ctr("leases", "rm", "held")
        system.ctr("images", "rm", "--sync", IMAGE)
        self.assertNotIn("sha256", system.ctr("snapshots", "ls").stdout + system.ctr("content", "ls").stdout)
        system.end()

    def test_a_container_outlives_the_packages(self):
        system = self.system
        system.install(*STANDARD)
        system.begin()
        before = self.start_a_container()
        system.end()
        purged = system.run("dpkg", "--purge", *STANDARD).stdout
        self.assertIn("berth: /var/lib/berth is kept", purged)
        system.run("kill", "-0", before[0])
        system.install(*STANDARD)
        system.begin()
        self.assertEqual(system.task("c1"), before)
        system.ctr("tasks", "kill", "-s", "TERM", "c1")
        self.assertEqual(system.end_of("c1"), 7)
        system.end()


class ConfigurationTest(unittest.TestCase):
    def test_a_berthd_in_its_build_folder_does_not_read_that_of_the_installed_one(self):
        with System() as system:
            system.install(*HOST)
            system.run("sh", "-c", "echo 'version = 99' >/etc/berth/config.toml")
            done = system.run("/usr/bin/berthd", "config", "check", check=False)
            self.assertEqual((done.returncode, "version = 99 is not read" in done.stdout), (1, True), done.stdout)
            if system.run("test", "-x", BUILT_BERTHD, check=False).returncode != 0:
                self.skipTest("the build folder is not seen here")
            done = system.run(BUILT_BERTHD, "config", "dump")
            self.assertNotIn("99", done.stdout)


class DebugInformationTest(unittest.TestCase):
    def test_it_is_apart_and_found_by_build_id(self):
        self.assertTrue(DEBUG)
        for name, path in PACKAGES.items():
            with tempfile.TemporaryDirectory(prefix="berth-packages-") as folder:
                subprocess.run(["dpkg-deb", "-x", path, folder + "/program"], check=True)
                programs = elf_files(folder + "/program")
                if not programs or name == "libberth-api0":  # generated code, compiled without
                    for program in programs:
                        self.assertNotIn(".symtab", sections(program), program)
                    continue
                self.assertIn(name, DEBUG)
                subprocess.run(["dpkg-deb", "-x", DEBUG[name], folder + "/debug"], check=True)
                for program in programs:
                    self.assertFalse({".debug_info", ".symtab"} & sections(program), program)
                    build_id = re.search("Build ID: ([0-9a-f]+)", readelf("-n", program)).group(1)
                    debug = "%s/debug/usr/lib/debug/.build-id/%s/%s.debug" % (folder, build_id[:2], build_id[2:])
                    self.assertIn(build_id, subprocess.run(["dpkg-deb", "-f", DEBUG[name], "Build-Ids"], capture_output=True, text=True, check=True).stdout)
                    self.assertLessEqual({".symtab", ".debug_info", ".debug_line"}, sections(debug))
                    with open(debug, "rb") as file:
                        self.assertNotIn(b"build/package", file.read(), "%s names the folders of its build" % name)

    def test_static_libraries_have_none(self):
        with tempfile.TemporaryDirectory(prefix="berth-packages-") as folder:
            subprocess.run(["dpkg-deb", "-x", PACKAGES["berth-dev"], folder], check=True)
            archives = glob.glob(folder + "/usr/lib/**/*.a", recursive=True)
            self.assertTrue(archives)
            for archive in archives:
                self.assertNotIn(".debug_info", sections(archive), archive)

    def test_a_plugin_is_small(self):
        for name, path in PACKAGES.items():
            if name.startswith("berth-plugin-"):
                self.assertLess(os.path.getsize(path), 500_000, name)


class HardeningTest(unittest.TestCase):
    """Each program and library has what dpkg-buildflags asks for with hardening=+all."""

    # Static, and at a fixed place: relocations of a shim would be paid once for each container (shim/CMakeLists.txt).
    FIXED = {"/usr/libexec/berth/containerd-shim-runc-v2"}

    def test_programs_and_libraries_are_linked_hardened(self):
        seen = fortified = 0
        for name, path in PACKAGES.items():
            with tempfile.TemporaryDirectory(prefix="berth-packages-") as folder:
                subprocess.run(["dpkg-deb", "-x", path, folder], check=True)
                for program in elf_files(folder):
                    seen += 1
                    installed = program[len(folder):]
                    header, segments = readelf("-h", program), readelf("-l", program)
                    kind = re.search(r"Type: *(\w+)", header).group(1)
                    self.assertEqual(kind, "EXEC" if installed in self.FIXED else "DYN", installed + ": position-independent")
                    self.assertIn("GNU_RELRO", segments, installed)
                    self.assertRegex(segments, r"GNU_STACK .* RW +0x", installed + ": its stack is not executable")
                    if installed in self.FIXED:
                        continue
                    self.assertRegex(readelf("-d", program), r"BIND_NOW|FLAGS_1.*\bNOW\b", installed)
                    symbols = readelf("--dyn-syms", program)
                    if "libberth-api" not in installed:  # generated code keeps nothing on the stack that could be overrun
                        self.assertIn(" __stack_chk_fail@", symbols, installed)
                    fortified += bool(re.search(r" __\w+_chk@", symbols))
        self.assertGreater(seen, 12)
        # Those that call something that has a fortified form at all.
        self.assertGreater(fortified, 8)

    def test_every_unit_was_compiled_with_the_stack_protector(self):
        units = 0
        for name, path in DEBUG.items():
            with tempfile.TemporaryDirectory(prefix="berth-packages-") as folder:
                subprocess.run(["dpkg-deb", "-x", path, folder], check=True)
                for debug in glob.glob(folder + "/usr/lib/debug/.build-id/*/*.debug"):
                    for producer in re.findall(r"DW_AT_producer .*: (GNU C.*)", readelf("--debug-dump=info", "--dwarf-depth=1", debug)):
                        units += 1
                        self.assertIn("-fstack-protector-strong", producer, name)
        self.assertGreater(units, 200)


def readelf(*arguments):
    return subprocess.run(["readelf", "-W"] + list(arguments), capture_output=True, text=True, check=True).stdout


def sections(path):
    return set(re.findall(r"\] (\.\S+) ", readelf("-S", path)))


def elf_files(folder):
    """Programs and shared libraries, no links."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    if file.read(4) == b"\x7fELF":
                        found.append(path)
    return found


THIRD_PARTY = {
    "control": """Source: NAME
Section: admin
Priority: optional
Maintainer: Somebody <somebody@example.org>
Build-Depends: debhelper-compat (= 13), dh-sequence-berth, cmake
Standards-Version: 4.6.2

Package: berth-plugin-NAME
Architecture: any
Depends: ${misc:Depends}, ${shlibs:Depends}, ${berth:Depends}
Recommends: ${berth:Recommends}
Suggests: ${berth:Suggests}
Provides: ${berth:Provides}
Description: a plugin that nobody of Berth knows
 It was begun with a template.
""",
    "changelog": """NAME (1.0) unstable; urgency=medium

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

    def is_served(self, type_, lang, name):
        """The relations of its package."""
        for program in ("dh", "cmake", {"c": "protoc-c", "cpp": "protoc"}[lang]):
            if shutil.which(program) is None:
                self.skipTest(program + " is not installed")
        with System() as system:
            system.install(*HOST, "berth-dev")
            system.run("sh", "-c", f"cd /tmp && berthctl plugin new --type {type_} --lang {lang} {name} && mkdir {name}/debian")
            for file, text in THIRD_PARTY.items():
                system.run("sh", "-c", f'printf %s "$2" >"/tmp/{name}/debian/$1" && chmod +x /tmp/{name}/debian/rules 2>/dev/null || true',
                           "sh", file, text.replace("NAME", name))
            system.run("sh", "-c", f"cd /tmp/{name} && dpkg-buildpackage -b -us -uc")
            package = system.run("sh", "-c", f"ls /tmp/berth-plugin-{name}_1.0_*.deb").stdout.strip()
            relations_of = system.run("dpkg-deb", "-f", package, "Depends", "Provides").stdout
            self.assertIn(field("berth", "Provides").replace("(=", "(>="), relations_of)
            self.assertRegex(relations_of, rf"Provides: .*berth-[a-z0-9.]*\.{name} \(= ")
            system.run("dpkg", "-i", package)
            system.begin()
            self.assertEqual(system.plugins()[name], "ok")
            uri = {"service": "io.containerd.grpc.v1.", "snapshotter": "io.containerd.snapshotter.v1."}[type_] + name
            self.assertIn(name, system.run("berthctl", "plugin", "why", uri, "--address", "/run/berth/berth.sock").stdout)
            system.end()
        return relations_of

    def test_in_c_it_is_built_packaged_installed_and_served(self):
        self.is_served("service", "c", "greeter")

    def test_in_cpp_it_carries_its_own_messages(self):
        relations_of = self.is_served("snapshotter", "cpp", "layers")
        self.assertIn("libprotobuf-lite", relations_of)
        # The host's library of messages belongs to one version of the host.
        self.assertNotIn("libberth-api", relations_of)


def main():
    global BUILT_BERTHD  # pylint: disable=global-statement
    reason = chroot.unavailable()
    if not reason and (len(sys.argv) < 3 or not glob.glob(sys.argv[1] + "/*.deb")):
        reason = "no packages; scripts/package builds them"
    if reason:
        print("SKIPPED: " + reason)
        return 77
    BUILT_BERTHD = os.path.realpath(sys.argv[2])
    for path in sorted(glob.glob(sys.argv[1] + "/*.deb")):
        name = subprocess.run(["dpkg-deb", "-f", path, "Package"], capture_output=True, text=True, check=True).stdout.strip()
        if name.endswith("-dbgsym"):
            DEBUG[name[:-len("-dbgsym")]] = path
        else:
            PACKAGES[name] = path
    result = unittest.main(argv=[sys.argv[0]] + sys.argv[3:], exit=False, verbosity=2).result
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
