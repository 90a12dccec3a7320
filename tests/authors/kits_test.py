#!/usr/bin/env python3
"""What the conformance kits of `berthctl plugin validate` find in plugins that are wrong in one thing each, and that they find nothing
in the same plugins without it.

Usage: kits_test.py BERTHCTL TEST-PLUGINS SHIM
"""
import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BERTHCTL = sys.argv[1]
CTL = pathlib.Path(sys.argv[2]) / "ctl"
SHIM = sys.argv[3]
LINE = re.compile(r"^(ok|FAILED|CRASHED|HUNG|skipped) +(?:\S+ )?([A-Z]\w+\.\w+) \([0-9.]+ s\)(?:: (.*))?$")
TYPES = {"content": "io.containerd.content.v1", "differ": "io.containerd.differ.v1", "service": "io.containerd.grpc.v1",
         "snapshotter": "io.containerd.snapshotter.v1"}
# By type: the mistake, and the cases that find it.
MISTAKES = {
    "content": {
        "unchecked": ["Content.WrongDigestsAndSizesAreRefused", "Content.DamagedIngestsAreNotCommitted"],
        "appends-anywhere": ["Content.OffsetsMustFit"],
        "begins-anew": ["Content.ResumesWhereAWriterWent", "Content.EverythingIsThereAfterARestart"],
        "reads-on": ["Content.ReadsFromAnyOffset"],
        "lists-all": ["Content.ListsAllAndFilters"],
        # A case that cannot go on without an answer fails, and does not crash.
        "fails-to-list": ["Content.LifeOfABlob", "Content.ListsAllAndFilters", "Content.EverythingIsThereAfterARestart"],
        "acknowledges-early": ["Content.LifeOfABlob", "ContentCrash.WhatWasStoredIsWhole"],
    },
    "differ": {
        "naive": ["Differ.NothingEscapes", "Differ.WhiteoutsRemove", "Differ.MalformedLayersAreRefused", "Differ.EntriesOfAllKinds"],
        "takes-anything": ["Differ.MediaTypesThatItDoesNotKnow"],
        "answers-the-blob": ["Differ.UnpacksWhatClientsSend", "Differ.ALayerMadeGivesTheTree"],
        "leaves-mounts": ["Differ.OntoWhatOtherLayersMade"],
        "leaves-ingests": ["Differ.AFullStoreIsToldAndLeavesNothing"],
        "loses-removals": ["Differ.ALayerMadeGivesTheTree"],
    },
    "service": {
        "no-message": ["Service.RepliesAreWhatIsDeclared"],
        "other-fields": ["Service.RepliesAreWhatIsDeclared"],
        "takes-anything": ["Service.MalformedRequestsAreRefused"],
        "no-text": ["Service.FailuresCanBeShown"],
        "no-details": ["Service.FailuresCanBeShown"],
        "waits-for-more": ["Service.StreamsEndWhenTheirCallersAreDone"],
        "one-at-a-time": ["Service.NobodyWaitsForSlowReaders"],
        "keeps-memory": ["Service.TakesNoMoreAndMore"],
        "keeps-files": ["Service.TakesNoMoreAndMore"],
    },
    "snapshotter": {
        "gives-keys-twice": ["Snapshotter.Refusals"],
        "writable-views": ["Snapshotter.ViewsAreReadOnly"],
        "drops-labels": ["Snapshotter.LifeOfASnapshot"],
        "acknowledges-early": ["SnapshotterCrash.WhatWasCommittedIsWhole"],
        "own-modes": ["Snapshotter.KeepsOwnersModesTimesAndAttributes"],
    },
}

# Shims that are a sound one, but for what a few lines of shell change.
SHIMS = {
    "serves-nowhere": ('case "$*" in *" start") echo unix:///nowhere/at.all; exit 0;; esac', "Shim.StartsAndGoes"),
    "tells-nobody": ("export TTRPC_ADDRESS=/nowhere/at.all", "Shim.RunsAProcessToItsEnd"),
    "forgets-the-code": (f'case "$*" in *" delete") {SHIM} "$@" >/dev/null; exit 0;; esac', "Shim.DeleteCleansUpAfterAKilledShim"),
}

# A shim that stops in the middle of a case and answers nothing more: the sound one, which is sent SIGSTOP when something has come to be.
# $SHIM, $FOLDER; $WHEN, a condition; $DELETE, a command in the place of "delete", or nothing.
HANGING = r"""
id=$8
echo $id >> $FOLDER/ids
find_shim() {
  for process in /proc/[0-9]*; do
    [ "$(readlink $process/cwd)" = "$PWD" ] && [ "$(readlink $process/exe)" = $SHIM ] && echo ${process#/proc/}
  done
}
stop_when_it_is_time() {
  until eval "$WHEN"; do sleep 0.02; done
  kill -STOP $shim
}
case "$*" in
*" start")
  $SHIM "$@" > answer || exit 1
  grep -ao 'unix://[^"]*' answer | sed 's|unix://||' >> $FOLDER/sockets
  shim=$(find_shim)
  stop_when_it_is_time > /dev/null 2>&1 &
  cat answer
  exit 0;;
*" delete")
  echo >> $FOLDER/deleted
  $DELETE;;
esac
exec $SHIM "$@"
"""
RUNS = "grep -qs started processes"
FROZEN = "grep -qs FROZEN /sys/fs/cgroup/freezer/berth-$id/freezer.state || grep -qs '^frozen 1' /sys/fs/cgroup/berth-$id/cgroup.events"
HANGS = {
    "while a container runs": (RUNS, "", "Shim.PausesAndResumes"),
    "while a container is frozen": (FROZEN, "", "Shim.PausesAndResumes"),
    "and when it is to clean up": (FROZEN, "exec sleep 1000", "Shim.PausesAndResumes"),
}


def running(id_):
    """Processes of a shim for this container, and those of its cgroups."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            of_it = id_ in (process / "cmdline").read_text(errors="replace") or f"/berth-{id_}\n" in (process / "cgroup").read_text()
        except OSError:
            continue
        if of_it:
            found.append(process.name)
    return found


def end_all(folder):
    """What a kit that fails this test leaves of the containers that are named in the folder."""
    ids = [word for word in (folder / "ids").read_text().split() if word.startswith("kit-")]
    for id_ in set(ids):
        cgroups = list(pathlib.Path("/sys/fs/cgroup").glob(f"**/berth-{id_}"))
        for process in running(id_):
            os.kill(int(process), signal.SIGKILL)
        for cgroup in cgroups:
            for file, thawed in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                if (cgroup / file).exists():
                    (cgroup / file).write_text(thawed)
        end = time.monotonic() + 10
        for cgroup in cgroups:
            while cgroup.exists() and time.monotonic() < end:
                with contextlib.suppress(OSError):
                    cgroup.rmdir()
                time.sleep(0.01)
        shutil.rmtree(f"/run/containerd/runc/berth-kit/{id_}", ignore_errors=True)
    for socket in (folder / "sockets").read_text().split():
        pathlib.Path(socket).unlink(missing_ok=True)


def validate(kind, mistake, cases):
    """{case: (verdict, reason)} and all that was printed."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(f'version = 3\n[plugins."{TYPES[kind]}.wrong"]\nmistake = "{mistake}"\n')
        config.flush()
        done = subprocess.run([BERTHCTL, "plugin", "validate", str(CTL / f"wrong-{kind}.so"), "--seed", "7", "--config", config.name,
                               "--filter", ":".join(cases)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200,
                              check=False)
    found = {}
    for line in done.stdout.splitlines():
        match = LINE.match(line)
        if match:
            found[match.group(2)] = (match.group(1), match.group(3) or "")
    return found, done.stdout


class Kits(unittest.TestCase):
    def finds(self, kind):
        for mistake, cases in MISTAKES[kind].items():
            with self.subTest(mistake=mistake):
                found, output = validate(kind, mistake, cases)
                self.assertEqual({case: found.get(case, ("none", ""))[0] for case in cases}, dict.fromkeys(cases, "FAILED"), output)
        # The same cases, without a mistake.
        cases = sorted({case for some in MISTAKES[kind].values() for case in some})
        found, output = validate(kind, "none", cases)
        self.assertEqual({case: found.get(case, ("none", ""))[0] for case in cases}, dict.fromkeys(cases, "ok"), output)

    def test_content_stores_that_are_wrong(self):
        self.finds("content")

    @unittest.skipIf(os.geteuid() != 0, "unpacking needs root")
    def test_differs_that_are_wrong(self):
        self.finds("differ")

    def test_services_that_are_wrong(self):
        self.finds("service")

    @unittest.skipIf(os.geteuid() != 0, "mounting needs root")
    def test_snapshotters_that_are_wrong(self):
        self.finds("snapshotter")

    @unittest.skipIf(os.geteuid() != 0, "containers need root")
    def test_shims_that_are_wrong(self):
        for mistake, (lines, case) in SHIMS.items():
            with self.subTest(mistake=mistake), tempfile.TemporaryDirectory() as folder:
                shim = pathlib.Path(folder) / "containerd-shim-wrong-v1"
                shim.write_text(f'#!/bin/sh\n{lines}\nexec {SHIM} "$@"\n', encoding="utf-8")
                shim.chmod(0o755)
                done = subprocess.run([BERTHCTL, "shim", "validate", str(shim), "--filter", case], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, timeout=100, check=False)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(f"FAILED   {case}", done.stdout)

    @unittest.skipIf(os.geteuid() != 0, "containers need root")
    def test_shims_that_hang_leave_nothing(self):
        for when, (condition, delete, case) in HANGS.items():
            with self.subTest(when=when), tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                temporary = folder / "tmp"
                temporary.mkdir()
                shim = folder / "containerd-shim-wrong-v1"
                settings = {"SHIM": SHIM, "FOLDER": name, "WHEN": condition, "DELETE": delete}
                lines = "".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items())
                shim.write_text(f"#!/bin/sh\n{lines}{HANGING}", encoding="utf-8")
                shim.chmod(0o755)
                try:
                    done = subprocess.run([BERTHCTL, "shim", "validate", str(shim), "--filter", case, "--timeout", "3"], timeout=100, check=False,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, TMPDIR=str(temporary)))
                    self.assertIn(f"HUNG     {case}", done.stdout)
                    self.nothing_is_left(folder, temporary, bool(delete))
                finally:
                    end_all(folder)

    def nothing_is_left(self, folder, temporary, delete_hangs):
        self.assertTrue((folder / "deleted").exists(), "the shim's program was not asked to clean up")
        ids = {word for word in (folder / "ids").read_text().split() if word.startswith("kit-")}
        self.assertEqual(len(ids), 1, ids)
        for id_ in ids:
            self.assertEqual(running(id_), [])
            self.assertEqual(list(pathlib.Path("/sys/fs/cgroup").glob(f"**/berth-{id_}")), [])
            # With a shim that does not clean up: which runtime it had, and where, only it knew.
            self.assertEqual(os.path.exists(f"/run/containerd/runc/berth-kit/{id_}"), delete_hangs)
        for socket in (folder / "sockets").read_text().split():
            self.assertFalse(os.path.exists(socket), socket)
        self.assertNotIn(str(folder), pathlib.Path("/proc/self/mountinfo").read_text())
        self.assertEqual(list(temporary.iterdir()), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=0)
