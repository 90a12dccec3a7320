#!/usr/bin/env python3
"""A newcomer's way, in an empty folder and with the installed SDK alone: a plugin is made from a template, built, tested,
inspected, loaded by a daemon and called by a client.

Usage: authors_test.py PREFIX TEMPLATE (such as snapshotter-cpp). Exit code 77: something that the template needs is missing.
"""
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

TEMPLATE = sys.argv[2]
# Names that C's headers have taken for a type and a function, and one of two words.
NAME = {"c": "stat", "cpp": "time"}.get(TEMPLATE.split("-")[1], "my-first")
IDENT = NAME.replace("-", "_")
CLASS = "".join(word.capitalize() for word in NAME.split("-"))
# What a template needs of the machine: programs, and modules of pkg-config.
NEEDS = {
    "cpp": (["cmake", "protoc"], ["sqlite3", "re2"]),
    "c": (["cmake", "protoc-c"], ["libprotobuf-c"]),
    "rust": (["cargo", "protoc"], []),
}


class Failure(Exception):
    pass


def expect(holds, text):
    if not holds:
        raise Failure(text)


def run(*command, cwd=None, code=0, timeout=240, env=None):
    """Output of a command that must end with `code`."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout, text=True, check=False, env=env)
    expect(done.returncode == code, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


# And one template more than the others of its language.
MORE_MODULES = {"differ-cpp": ["libarchive", "zlib", "libzstd"], "differ-c": ["libarchive", "zlib", "libzstd"],
                "runtime-cpp": ["nlohmann_json"]}


def missing(template):
    programs, modules = NEEDS[template.split("-")[1]]
    modules = modules + MORE_MODULES.get(template, [])
    absent = [name for name in programs if shutil.which(name) is None]
    absent += [name for name in modules if subprocess.run(["pkg-config", "--exists", name], check=False).returncode != 0]
    return absent


class Daemon:
    """The installed berthd with folders of its own and the plugins that are put into one of them."""

    def __init__(self, prefix, folder):
        self.prefix, self.folder = prefix, folder
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        self.address = folder / "berthd.sock"
        self.process = None
        self.config = ""

    def add(self, file):
        shutil.copy(file, self.plugins)

    def add_standard(self):
        for file in (self.prefix / "lib/berth/plugins").glob("*.so"):
            self.add(file)

    def start(self):
        (self.folder / "config.toml").write_text("version = 3\n" + self.config, encoding="utf-8")
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [self.prefix / "bin/berthd", "--config", self.folder / "config.toml", "--root", self.folder / "root", "--state",
             self.folder / "state", "--address", self.address, "--plugin-dir", self.plugins], stdout=log, stderr=log)
        end = time.monotonic() + 20
        while f" serves on {self.address}" not in self.log():
            expect(self.process.poll() is None and time.monotonic() < end, f"berthd does not serve:\n{self.log()}")
            time.sleep(0.02)

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8")

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure(f"berthd does not stop:\n{self.log()}") from None
        finally:
            self.process = None
        expect(code == 0, f"berthd ended with {code}:\n{self.log()}")
        (self.folder / "log").unlink()


class Author:
    def __init__(self, prefix, template, folder):
        self.prefix, self.folder = prefix, folder
        self.type, self.lang = template.split("-")
        self.project = folder / NAME
        self.env = dict(os.environ, PATH=f"{prefix}/bin:{os.environ['PATH']}", CCACHE_BASEDIR=str(folder), CCACHE_NOHASHDIR="1",
                        CARGO_NET_OFFLINE="true")
        if shutil.which("ccache"):
            self.env.update(CMAKE_C_COMPILER_LAUNCHER="ccache", CMAKE_CXX_COMPILER_LAUNCHER="ccache")

    def ctl(self, *words, code=0):
        return run(self.prefix / "bin/berthctl", *words, cwd=self.folder, code=code)

    def make(self):
        self.ctl("plugin", "new", "--type", self.type, "--lang", self.lang, NAME)
        expect((self.project / "README.md").read_text(encoding="utf-8").startswith(f"# {NAME}"), "the README is about another")

    def cargo(self):
        output = run("cargo", "build", "--release", cwd=self.project, env=self.env)
        expect("warning" not in output, f"cargo warns:\n{output}")
        run("cargo", "test", cwd=self.project, env=self.env)

    def build(self):
        """Returns the plugin's file."""
        if self.lang == "rust":
            self.cargo()
            self.ctl("plugin", "validate", self.project / f"target/release/lib{IDENT}.so")
            return self.project / f"target/release/lib{IDENT}.so"
        run("cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={self.prefix}", cwd=self.project, env=self.env)
        output = run("cmake", "--build", "build", "-j2", cwd=self.project, env=self.env)
        expect("warning:" not in output, f"the compiler warns:\n{output}")
        return self.project / f"build/{NAME}.so"

    def test(self, file):
        if self.lang == "rust":
            return  # its build has
        output = run("ctest", "--test-dir", "build", "--output-on-failure", "--no-tests=error", cwd=self.project, env=self.env)
        expect(f"{IDENT}_test" in output, f"the template has no test of its own:\n{output}")

    def inspect(self, file, uri):
        seen = json.loads(self.ctl("plugin", "inspect", "--json", file))
        expect(seen["plugins"][0]["uri"] == uri, f"inspect shows {seen['plugins']}")
        expect(seen["problems"] == [] and seen["warnings"] == [], f"inspect finds {seen}")
        expect(seen["exports"] == ["berth_plugin_entry_v0"], f"it exports {seen['exports']}")
        # Messages of its own: nothing of the host's library of them is asked for, nor could be bound to.
        expect("libberth-api" not in run("readelf", "-dW", file), "it needs the host's messages")
        bound = [name for name in run("nm", "-DC", "--undefined-only", file).split("\n") if re.search(r"\b(containerd|berth|example)(::|_)", name)]
        expect(bound == [], f"it would be bound to {bound}")
        # From where it lies, as one does. (Programs in a build folder find libraries in the current one, so only installed ones tell.)
        run(self.prefix / "bin/berthctl", "plugin", "validate", "--level", "loads", file.name, cwd=file.parent)


def call_service(author, daemon):
    method = f"example.{IDENT}.v1.{CLASS}/Greet"
    answer = json.loads(author.ctl("call", "-a", daemon.address, "-n", "k8s.io", method, '{"name": "world"}'))
    expect(answer == {"text": "good day, world of k8s.io"}, f"it answers {answer}")
    refused = author.ctl("call", "-a", daemon.address, method, code=1)
    expect("INVALID_ARGUMENT: greet: name is empty" in refused, f"an empty name is answered with {refused}")
    unknown = author.ctl("call", "-a", daemon.address, f"example.{IDENT}.v1.{CLASS}/Shout", code=1)
    expect("UNIMPLEMENTED" in unknown, f"a method that is not there is answered with {unknown}")


def call_snapshotter(author, daemon):
    ctr = shutil.which("ctr")
    if ctr is None:
        print("SKIPPED: the snapshotter is not called: ctr is missing")
        return

    def snapshots(*words, code=0):
        return run(ctr, "-a", daemon.address, "snapshots", "--snapshotter", NAME, *words, code=code)

    snapshots("prepare", "work")
    snapshots("commit", "layer", "work")
    snapshots("prepare", "next", "layer")
    shown = snapshots("mounts", "/mnt/x", "next")
    expect("lowerdir=" in shown and f"io.containerd.snapshotter.v1.{NAME}" in shown, f"it would mount {shown}")
    expect("layer" in snapshots("ls"), "a committed snapshot is not listed")
    snapshots("rm", "layer", code=1)  # it has a child
    snapshots("rm", "next")
    snapshots("rm", "layer")
    expect(snapshots("ls").split() == ["KEY", "PARENT", "KIND"], "something is left")


def call_content(author, daemon):
    ctr = shutil.which("ctr")
    if ctr is None:
        print("SKIPPED: the content store is not called: ctr is missing")
        return
    digest = f"sha256:{hashlib.sha256(b'hello').hexdigest()}"
    ingest = subprocess.run([ctr, "-a", daemon.address, "content", "ingest", "--expected-digest", digest, "--expected-size", "5", "ref"],
                            input="hello", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, text=True, check=False)
    expect(ingest.returncode == 0, f"nothing is taken in:\n{ingest.stdout}")
    expect(run(ctr, "-a", daemon.address, "content", "get", digest) == "hello", "a blob is not as it was")
    listed = run(ctr, "-a", daemon.address, "content", "ls")
    expect(digest in listed, f"a blob is not listed:\n{listed}\n{daemon.log()}")
    kept = [file for file in (daemon.folder / f"root/io.containerd.content.v1.{NAME}").rglob("*") if file.is_file()]
    expect(any(file.read_bytes() == b"hello" for file in kept), f"another store has it; here is {kept}")


def call_differ(author, daemon):
    ctr = shutil.which("ctr")
    if ctr is None or os.geteuid() != 0:
        print("SKIPPED: the differ is not called: that needs ctr and root")
        return
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("etc/motd")
        entry.size = 6
        archive.addfile(entry, io.BytesIO(b"hello\n"))
    digest = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    subprocess.run([ctr, "-a", daemon.address, "content", "ingest", "--expected-digest", digest, "ref"], input=layer.getvalue(), timeout=30,
                   stdout=subprocess.DEVNULL, check=True)
    to = daemon.folder / "unpacked"
    to.mkdir()
    request = {"diff": {"media_type": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": len(layer.getvalue())},
               "mounts": [{"type": "bind", "source": str(to), "options": ["rw", "rbind"]}]}
    author.ctl("call", "-a", daemon.address, "-n", "default", "containerd.services.diff.v1.Diff/Apply", json.dumps(request))
    expect((to / "etc/motd").read_text(encoding="utf-8") == "hello\n", "a layer is not unpacked")


# By type: URI, section of the configuration, what is disabled in its favour, what a client does with it, whether it needs others.
KINDS = {
    "service": (f"io.containerd.grpc.v1.{NAME}", 'greeting = "good day"', [], call_service, False),
    "snapshotter": (f"io.containerd.snapshotter.v1.{NAME}", "", [], call_snapshotter, True),
    # A blob that nothing refers to would be collected between two commands.
    "content": (f"io.containerd.content.v1.{NAME}", "", ["io.containerd.content.v1.content", "io.containerd.gc.v1.scheduler"],
                call_content, True),
    "differ": (f"io.containerd.differ.v1.{NAME}", f'[plugins."io.containerd.grpc.v1.diff"]\ndefault = ["{NAME}"]',
               ["io.containerd.differ.v1.walking", "io.containerd.gc.v1.scheduler"], call_differ, True),
}


def explain(author, daemon, uri):
    """What `graph` and `why` say of the running daemon and, with the plugin disabled, of the next start."""
    why = json.loads(author.ctl("plugin", "why", uri, "--json", "-a", daemon.address))
    expect(why["plugins"][0]["state"] == "ready" and why["plugins"][0]["in"] and why["live"], f"why says {why}")
    graph = json.loads(author.ctl("plugin", "graph", "--json", "-a", daemon.address))
    expect([one["state"] for one in graph["plugins"] if one["uri"] == uri] == ["ready"], f"graph says {graph}")
    expect(f'"{uri}"' in author.ctl("plugin", "graph", "--dot", "-a", daemon.address), "the plugin is not drawn")
    before = author.ctl("plugin", "why", uri, "--plugin-dir", daemon.plugins)
    expect(f"{uri} ({daemon.plugins}/" in before and "would start" in before, f"of the files, why says {before}")


def disabled(author, daemon, uri):
    daemon.config = f'disabled_plugins = ["{uri}"]\n'
    daemon.start()
    why = author.ctl("plugin", "why", uri, "-a", daemon.address)
    expect("is disabled" in why and f'take "{uri}" out of disabled_plugins' in why, f"why says {why}")
    daemon.stop()


def under_containerd(author, shims, rootfs):
    """A shim is containerd's as well, which may die beside it."""
    containerd = shutil.which("containerd")
    if containerd is None:
        print("SKIPPED: no containerd to run a container with the shim")
        return
    folder = author.folder / "containerd"
    folder.mkdir()
    address = folder / "c.sock"
    (folder / "config.toml").write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{address}"\n[ttrpc]\naddress = "{address}.ttrpc"\n', encoding="utf-8")

    def ctr(*words, code=0):
        return run("ctr", "-a", address, "-n", "berth-authors", *words, code=code, timeout=60)

    def start():
        address.unlink(missing_ok=True)
        with open(folder / "log", "ab") as log:
            process = subprocess.Popen([containerd, "-c", folder / "config.toml"], stdout=log, stderr=log,
                                       env=dict(os.environ, PATH=f"{shims}:{os.environ['PATH']}"))
        end = time.monotonic() + 20
        while subprocess.run(["ctr", "-a", address, "version"], capture_output=True, check=False).returncode != 0:
            expect(process.poll() is None and time.monotonic() < end, "containerd does not serve")
            time.sleep(0.05)
        return process

    process = start()
    try:
        ctr("run", "-d", "--runtime", f"io.containerd.{NAME}.v1", "--rootfs", rootfs, "lasting", "sleep", "1000")
        process.kill()
        process.wait()
        process = start()
        expect("RUNNING" in ctr("task", "ls"), "a container did not outlive its containerd")
        ctr("task", "exec", "--exec-id", "e", "lasting", "echo", "beside")
    finally:
        subprocess.run(["ctr", "-a", address, "-n", "berth-authors", "task", "delete", "-f", "lasting"], capture_output=True, check=False)
        process.terminate()
        process.wait()
        kill_all_of(author.folder)


def kill_all_of(folder):
    """Processes whose program is in the folder: shims that a daemon has lost."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "exe").startswith(f"{folder}/"):
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            continue


def work_on_shim(author):
    """A runtime is a program, which a daemon's runtime plugin starts: its kit is that of shims, and ctr runs a container with it."""
    author.make()
    if author.lang == "rust":
        author.cargo()
        folder = author.project / "target/release"
        output = author.ctl("shim", "validate", folder / f"containerd-shim-{NAME}-v1")
        expect(" ok, 0 failed" in output, f"the kit was not run:\n{output}")
    else:
        author.build()
        folder = author.project / "build"
        output = run("ctest", "--test-dir", "build", "--output-on-failure", "--no-tests=error", cwd=author.project, env=author.env)
        expect("shim-shim" in output, f"the kit was not run:\n{output}")
    ctr = shutil.which("ctr")
    if ctr is None or os.geteuid() != 0 or not os.path.exists("/bin/busybox"):
        print("SKIPPED: no container is run: that needs ctr, root and busybox-static")
        return
    rootfs = author.folder / "rootfs"
    for name in ("bin", "proc", "dev", "sys", "run", "tmp"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/echo")
    shutil.copy("/bin/busybox", rootfs / "bin/sleep")
    daemon = Daemon(author.prefix, author.folder)
    daemon.add_standard()
    daemon.config = f'[plugins."io.containerd.runtime.v2.task"]\nshim_path = ["{folder}"]\n'
    try:
        daemon.start()
        output = run(ctr, "-a", daemon.address, "run", "--rm", "--runtime", f"io.containerd.{NAME}.v1", "--rootfs", rootfs, "mine", "echo", "hello")
        expect(output == "hello\n", f"the container says {output!r}")
        daemon.stop()
    finally:
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()
    under_containerd(author, folder, rootfs)


def work(prefix, template, folder):
    author = Author(prefix, template, folder)
    if author.type == "runtime":
        work_on_shim(author)
        return
    uri, config, instead_of, call, needs_others = KINDS[author.type]
    author.make()
    file = author.build()
    author.test(file)
    author.inspect(file, uri)
    daemon = Daemon(prefix, folder)
    if needs_others:
        daemon.add_standard()
    daemon.add(file)
    daemon.config = f"disabled_plugins = {json.dumps(instead_of)}\n"
    daemon.config += f'[plugins."{uri}"]\n{config}\n' if config else ""
    try:
        daemon.start()
        call(author, daemon)
        explain(author, daemon, uri)
        daemon.stop()
        disabled(author, daemon, uri)
    finally:
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()


def main():
    prefix, template = pathlib.Path(sys.argv[1]), TEMPLATE
    absent = missing(template)
    if absent:
        print(f"SKIPPED: template {template}: missing: {', '.join(absent)}")
        return 77
    with tempfile.TemporaryDirectory(prefix="berth-author-") as folder:
        try:
            work(prefix, template, pathlib.Path(folder))
        except Failure as failure:
            print(f"FAILED: {failure}")
            return 1
    print(f"{template}: made, built, tested, inspected, run and called")
    return 0


if __name__ == "__main__":
    sys.exit(main())
