#!/usr/bin/python3
"""Runs scenario files against berthd and against containerd and compares what a user sees.

    harness.py --berthd build/dev/bin/berthd [--raw-call PROGRAM] [--client 1.6|2.x] [--only berthd|peer] [--shim FOLDER]
               [--processes] [-v] SCENARIO...

See scenario.py for the language. Exit code 0: passed, 1: failed, 77: skipped, with the reason on the last line.
Needs root. Leaves nothing behind, whatever happens.
"""
import argparse
import difflib
import functools
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import machine
import scenario as scenario_file
from daemons import RUNTIME_STATE, Daemon, DaemonFailed, Installed
from normalise import error_class, normalise

# Of this process alone: cgroups and the runtimes' state are the machine's, and another run may be under way. Letters, as
# digits would look like process ids.
NAMESPACE = "berth-it-" + "".join(chr(ord("a") + int(digit)) for digit in str(os.getpid()))
DOCKER = "/usr/bin/docker"  # the one that came with dockerd, whatever else PATH has
HERE = os.path.dirname(os.path.abspath(__file__))
STEP_SECONDS = 60 * machine.SLOWNESS


class Failed(Exception):
    """A scenario did not come out as it should."""


def in_processes(berthctl, plugins, config):
    """The lines of a configuration of berthd's with every plugin of a folder in a process of its own."""
    graph = subprocess.run([berthctl, "plugin", "graph", "--plugin-dir", plugins, "--json"], capture_output=True, text=True, check=True).stdout
    lines = list(config)
    for plugin in (one for one in json.loads(graph)["plugins"] if one["file"]):  # others are parts of the host
        section = '[plugins."%s"]' % plugin["uri"]
        if section not in lines:
            lines += [section, 'placement = "process"']
            continue
        at = lines.index(section) + 1
        end = next((i for i in range(at, len(lines)) if lines[i].startswith("[")), len(lines))
        if not any(line.startswith("placement") for line in lines[at:end]):
            lines.insert(at, 'placement = "process"')
    return lines


class Run:
    """One run of a scenario on one daemon: its transcript is what is compared."""

    def __init__(self, scenario, value, kind, program, client, extra, verbose, raw_call, shim="", processes=False):
        self.scenario, self.value, self.verbose = scenario, value, verbose
        self.processes = processes
        self.transcript = []
        self.problems = []
        self.folder = tempfile.mkdtemp(prefix="bit-", dir="/tmp")
        try:
            self.prepare(kind, program, client, extra, raw_call, shim)
        except BaseException:  # clean() is for what has been prepared
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def prepare(self, kind, program, client, extra, raw_call, shim):
        """Fills the folder and says what the daemon and the steps are told; starts nothing."""
        scenario = self.scenario
        self.work = os.path.join(self.folder, "work")
        self.bin = os.path.join(self.folder, "bin")
        os.mkdir(self.work)
        os.mkdir(self.bin)
        os.symlink(client, os.path.join(self.bin, "ctr"))
        os.symlink(raw_call, os.path.join(self.bin, "raw_call"))
        if os.access(DOCKER, os.X_OK):
            os.symlink(DOCKER, os.path.join(self.bin, "docker"))
        path = os.path.dirname(program) if kind == "containerd" and program != "/usr/bin/containerd" else ""
        path = shim or path
        chosen = ['[plugins."io.containerd.runtime.v2.task"]', 'shim_path = ["%s"]' % shim] if shim and kind == "berthd" else []
        self.daemon = Installed(self.folder) if scenario.installed else Daemon(kind, program, self.folder, extra, path)
        self.daemon.without_unified_cgroup = scenario.without_unified_cgroup
        self.daemon.berthd_config = scenario.berthd_config + chosen
        self.environment = {
            "PATH": self.bin + ":" + os.environ["PATH"], "HOME": self.work, "LC_ALL": "C", "TZ": "UTC",
            "CONTAINERD_ADDRESS": self.daemon.address, "CONTAINERD_NAMESPACE": NAMESPACE,
            "HERE": HERE, "DIR": self.folder, "ROOT": self.daemon.root, "STATE": self.daemon.state,
            "DAEMON": kind, "SHIM": shim, "DOCKER_HOST": "unix://" + os.path.join(self.work, "docker", "socket"),
            # 2.x asks the transfer service for these unless told to do it itself, as 1.6 always does.
            "LOCAL": "" if client == "/usr/bin/ctr" else "--local",
        }
        if kind == "berthd":
            beside = os.path.dirname(program)
            folders = [os.path.join(beside, folder) for folder in ("../plugins", "../lib/berth/plugins")] + glob.glob(os.path.join(beside, "../lib/*/berth/plugins"))
            self.environment["PLUGINS"] = next((folder for folder in folders if os.path.isdir(folder)), "")
            self.environment["PATH"] += ":" + beside
        if self.processes and kind == "berthd":
            self.daemon.berthd_config = in_processes(
                os.path.join(os.path.dirname(program), "berthctl"), self.environment["PLUGINS"], self.daemon.berthd_config)
        if scenario.variable[0]:
            self.environment[scenario.variable[0]] = self.value

    def step(self, step):
        if step.kind == "@":
            return self.restart(step.command)
        began = time.monotonic()
        try:
            done = subprocess.run(["/bin/sh", "-c", step.command], cwd=self.work, env=self.environment,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=STEP_SECONDS)
            code, out, err = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            code, out, err = "no end within %d s" % STEP_SECONDS, late.stdout or b"", late.stderr or b""
        places = {NAMESPACE: "berth-it", self.work: "WORK", self.daemon.root: "ROOT", self.daemon.state: "STATE", self.folder: "DIR"}
        out, err = (normalise(text.decode(errors="replace"), places) for text in (out, err))
        if self.verbose:
            print("  [%s] %s %s\n%s" % (self.daemon.kind, step.kind, step.command,
                  "\n".join("      " + line for line in (out + "\n" + err).splitlines()) + "\n      -> %s in %.2f s" % (code, time.monotonic() - began)))
        self.transcript.append((step, code, out, err))
        self.check(step, code, out, err)
        return None

    def check_processes(self):
        """Every plugin that the configuration places in a process has one."""
        wanted = self.daemon.berthd_config.count('placement = "process"')
        found = [pid for pid in machine.descendants(self.daemon.process.pid) if "berth-plugin-run" in machine.command_line(pid)]
        skipped = subprocess.run(["ctr", "plugins", "ls"], env=self.environment, capture_output=True, text=True, check=True).stdout
        skipped = [line for line in skipped.splitlines() if line.split()[-1] == "skip"]
        if not wanted or len(found) + len(skipped) != wanted:
            raise DaemonFailed("of %d plugins that belong in processes, %d are and %d are skipped:\n%s" % (
                wanted, len(found), len(skipped), self.daemon.tail()))

    def check(self, step, code, out, err):
        faults = []
        if step.kind in "$%" and code != 0:
            faults.append("should have succeeded, exit code %s" % code)
        if step.kind == "!" and code == 0:
            faults.append("should have failed")
        for pattern in step.present:
            if not re.search(pattern, out, re.MULTILINE):
                faults.append("output has no line like: " + pattern)
        for pattern in step.absent:
            if re.search(pattern, out, re.MULTILINE):
                faults.append("output has a line like: " + pattern)
        for pattern in step.error:
            if not re.search(pattern, err, re.MULTILINE):
                faults.append("error output has no line like: " + pattern)
        if not self.daemon.alive():
            faults.append("the daemon died")
        if faults:
            self.problems.append("line %d: %s %s\n      %s%s" % (
                step.line, step.kind, step.command, "\n      ".join(faults),
                "".join("\n      | " + line for line in (out + "\n" + err).strip().splitlines()[-12:])))
            if not self.daemon.alive():
                raise DaemonFailed("the daemon died:\n" + self.daemon.tail())

    def restart(self, how):
        if how in ("kill", "away"):
            self.daemon.kill()
            time.sleep(2 * machine.SLOWNESS if how == "away" else 0)
        else:
            self.daemon.stop()
        self.daemon.start()

    def go(self, kill_between_steps=False):
        try:
            for path, kind, megabytes in self.scenario.filesystems:
                self.daemon.mount_filesystem(path, kind, megabytes)
            os.environ["PATH"] = self.bin + ":" + os.environ["PATH"]
            self.daemon.start()
            if self.processes and self.daemon.kind == "berthd":
                self.check_processes()
            for step in self.scenario.steps:
                if kill_between_steps:
                    self.restart("kill")
                self.step(step)
            self.daemon.stop()
            machine.reap()
            self.problems += self.daemon.leaks(NAMESPACE)
        except DaemonFailed as failure:
            self.problems.append(str(failure))
        except subprocess.CalledProcessError as failure:
            self.problems.append("preparation failed: %s" % failure)
        finally:
            self.clean()
        if self.problems:
            raise Failed("on %s%s:\n  - %s" % (
                self.daemon.kind, ", killed between steps" if kill_between_steps else "",
                "\n  - ".join(self.problems)))
        return self.transcript

    def clean(self):
        os.environ["PATH"] = os.environ["PATH"].replace(self.bin + ":", "")
        if self.daemon.process is not None:
            self.daemon.kill()
        machine.kill_all(machine.descendants(os.getpid()))
        machine.reap()
        machine.unmount_under(self.folder)
        for device in machine.loop_devices_under(self.folder):
            subprocess.run(["losetup", "-d", device], stderr=subprocess.DEVNULL)
        shutil.rmtree(os.path.join(RUNTIME_STATE, NAMESPACE), ignore_errors=True)
        for cgroup in machine.cgroups_named(NAMESPACE):
            machine.remove_cgroup(cgroup)
        if self.problems and os.environ.get("BERTH_KEEP_LOG") and os.path.exists(self.daemon.log):
            shutil.copy(self.daemon.log, os.environ["BERTH_KEEP_LOG"])
        if not machine.mounts_under(self.folder):
            subprocess.run(["chattr", "-R", "-i", self.folder], stderr=subprocess.DEVNULL)
            shutil.rmtree(self.folder, ignore_errors=True)


def another_class(ours, theirs):
    """A class where the peer has none ("unknown") is no difference; nor is it where the client shows none of the peer's ("other"),
    as ctr 2.x does with messages that do not end in one. ctr 1.6 always shows it."""
    return ours != theirs and theirs not in ("unknown", "other")


def compare(name, other_name, transcript, other):
    """Sentences about the differences between two transcripts."""
    found = []
    for (step, code, out, err), (_, other_code, other_out, other_err) in zip(transcript, other):
        differences = []
        if code != other_code:
            differences.append("exit code %s, %s has %s\n      | %s" % (code, other_name, other_code, err[-300:]))
        if step.kind != "%" and out != other_out:
            lines = difflib.unified_diff(other_out.splitlines(), out.splitlines(), other_name, name, lineterm="", n=1)
            differences.append("output differs:\n        " + "\n        ".join(list(lines)[:40]))
        if step.kind in "!~" and code != 0 and another_class(error_class(err), error_class(other_err)):
            differences.append("another kind of error:\n        %s: %s\n        %s: %s" % (
                name, err[-300:], other_name, other_err[-300:]))
        if differences:
            found.append("line %d: %s %s\n      %s" % (step.line, step.kind, step.command,
                                                       "\n      ".join(differences)))
    return found


def find_client(generation):
    """The program ctr of a generation and the containerd that it came with, or the reason why there is none."""
    if generation == "1.6":
        client, peer = "/usr/bin/ctr", "/usr/bin/containerd"
    else:
        folder = os.environ.get("BERTH_CTR2_DIR") or os.path.join(HERE, "../../.cache/ctr2/usr/bin")
        client, peer = os.path.join(folder, "ctr"), os.path.join(folder, "containerd")
    if not os.access(client, os.X_OK):
        return None, None, "no ctr %s at %s%s" % (generation, client, "" if generation == "1.6" else
                                                  " (scripts/fetch-ctr2 gets it)")
    return os.path.abspath(client), os.path.abspath(peer) if os.access(peer, os.X_OK) else None, ""


PEER_TRIES = 3


def run_peer(make):
    """The transcript of the peer's run, which `make` makes. It has more than one try, which berthd does not have: containerd
    now and then loses the output of a short process, or collects what was just made, and that is not ours to fail for."""
    for attempt in range(PEER_TRIES):
        try:
            return make().go()
        except Failed as failure:
            if attempt + 1 == PEER_TRIES:
                raise Failed("the scenario does not hold for containerd itself; %s" % failure) from None
            print("containerd itself failed, another try follows; %s" % failure, flush=True)


def compare_or_again(name, other_name, ours, theirs, make_peer):
    """Raises Failed unless the transcript `ours` is that of the peer, or that of another run of it: one that ours does not
    differ from shows whose noise it was."""
    differences = compare(name, other_name, ours, theirs)
    if differences:
        print("%s and %s differ, containerd runs again:\n  - %s" % (name, other_name, "\n  - ".join(differences)), flush=True)
        differences = compare(name, other_name, ours, run_peer(make_peer))
    if differences:
        raise Failed("%s and %s differ:\n  - %s" % (name, other_name, "\n  - ".join(differences)))


def run_scenario(path, args, client, peer):
    """Returns the reason of a skip, or nothing; raises Failed."""
    with open(path) as file:
        scenario = scenario_file.parse(os.path.basename(path), scenario_file.stretch(file.read(), machine.SLOWNESS))
    if scenario.client not in ("any", args.client):
        return "for ctr %s only" % scenario.client
    for program in scenario.needs:
        if shutil.which(program) is None:
            return "%s is not installed" % program
    name, values = scenario.variable
    for value in values:
        label = " [%s=%s]" % (name, value) if name else ""
        print("%s, ctr %s%s: %s" % (scenario.name, args.client, label, scenario.title), flush=True)
        ours = theirs = None
        extra = os.environ.get("BERTHD_FLAGS", "").split()
        make_peer = functools.partial(Run, scenario, value, "containerd", peer, client, (), args.verbose, args.raw_call)
        if peer and args.only != "berthd" and not scenario.berthd_only:
            theirs = run_peer(make_peer)
        if args.shim and peer and args.only != "berthd" and not scenario.berthd_only:
            swapped = Run(scenario, value, "containerd", peer, client, (), args.verbose, args.raw_call, args.shim).go()
            compare_or_again("containerd with our shim", "with its own", swapped, theirs, make_peer)
        if args.only != "peer":
            ours = Run(scenario, value, "berthd", args.berthd, client, extra, args.verbose, args.raw_call, args.shim,
                       args.processes).go()
            if theirs:
                compare_or_again("berthd", "containerd", ours, theirs, make_peer)
            if scenario.kill_between_steps:
                again = Run(scenario, value, "berthd", args.berthd, client, extra, args.verbose, args.raw_call,
                            args.shim, args.processes).go(True)
                differences = compare("killed between steps", "undisturbed", again, ours)
                if differences:
                    raise Failed("kill -9 between the steps shows:\n  - " + "\n  - ".join(differences))
    return ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("scenarios", nargs="+")
    parser.add_argument("--berthd", default="berthd")
    parser.add_argument("--raw-call", help="the program tools/raw_call; tests/raw_call beside berthd's folder")
    parser.add_argument("--client", choices=["1.6", "2.x"], default="1.6")
    parser.add_argument("--only", choices=["berthd", "peer"])
    parser.add_argument("--shim", default="", help="a folder with the containerd-shim-runc-v2 to use: berthd's run and one more of "
                        "containerd's use it, and both are compared with containerd and its own shim")
    parser.add_argument("--processes", action="store_true", help="berthd runs with all of its plugins in processes of their own")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    args.berthd = os.path.abspath(args.berthd)
    args.raw_call = os.path.abspath(
        args.raw_call or os.path.join(os.path.dirname(args.berthd), "../tests/raw_call"))

    args.shim = os.path.abspath(args.shim) if args.shim else ""

    if os.geteuid() != 0:
        print("SKIPPED: needs root")
        return 77
    client, peer, reason = find_client(args.client)
    if client is None:
        print("SKIPPED: " + reason)
        return 77
    if peer is None:
        print("without a containerd to compare with")
    machine.adopt_orphans()
    passed, failed, skipped = 0, [], []
    for path in args.scenarios:
        name = os.path.basename(path)
        try:
            why = run_scenario(path, args, client, peer)
            if why:
                skipped.append("%s: %s" % (name, why))
            else:
                passed += 1
        except (Failed, scenario_file.Malformed) as failure:
            failed.append(name)
            print("FAILED %s: %s" % (name, failure), flush=True)
    print("%d passed, %d failed%s" % (passed, len(failed), ": " + ", ".join(failed) if failed else ""))
    for line in skipped:
        print("SKIPPED: " + line)
    if failed:
        return 1
    return 77 if passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
