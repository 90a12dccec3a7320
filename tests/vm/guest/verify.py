#!/usr/bin/python3
"""After a power loss: is all that was acknowledged whole, and is nothing half-made listed?

Reads JSON from stdin: {"done": {KIND: [SEED...]}, "begun": {KIND: [SEED...]}, "keep": N}; the kinds are those of work.py. Writes lines of JSON:
{"fault": TEXT} for everything that is wrong, {"note": TEXT}, and last {"verified": {WHAT: N}, "images": [SEED...]}, the images left.
It then removes all but the base and N images, and looks for what that leaves.
"""
import hashlib
import json
import os
import re
import subprocess
import sys
import time

import client
import recipes
from client import CallFailed, ctr, ids

SECONDS = 300
VIEW = "verify-view"
FOLDER = "/tmp/verify"


class Verifier:
    def __init__(self, request):
        self.done = {kind: set(seeds) for kind, seeds in request["done"].items()}
        self.begun = {kind: set(seeds) for kind, seeds in request["begun"].items()}
        self.keep = request["keep"]
        self.verified = {}
        self.images = {}

    @staticmethod
    def fault(text):
        print(json.dumps({"fault": text}), flush=True)

    def count(self, what, number=1):
        self.verified[what] = self.verified.get(what, 0) + number

    def image(self, seed):
        if seed not in self.images:
            self.images[seed] = recipes.Image(seed)
        return self.images[seed]

    # The daemon

    def daemon(self):
        """systemd has started it, once, and it is ready."""
        for _ in range(SECONDS):
            shown = dict(line.split("=", 1) for line in client.run("systemctl", "show", "-p", "ActiveState", "-p", "NRestarts", "-p", "MainPID", "-p",
                                                                   "ActiveEnterTimestampMonotonic", "-p", "ExecMainStartTimestampMonotonic", "berthd").splitlines())
            if shown["ActiveState"] in ("active", "failed"):
                break
            time.sleep(1)
        log = client.run("journalctl", "-u", "berthd", "--no-pager", "-o", "cat")
        if shown["ActiveState"] != "active" or shown["NRestarts"] != "0":
            self.fault("berthd is %s after %s restarts:\n%s" % (shown["ActiveState"], shown["NRestarts"], log[-3000:]))
            return False
        ready = int(shown["ActiveEnterTimestampMonotonic"]) - int(shown["ExecMainStartTimestampMonotonic"])
        print(json.dumps({"note": "berthd was ready %.1f s after its start" % (ready / 1e6)}), flush=True)
        for line in log.splitlines():
            if re.search(r"\b(error|critical)\b", line, re.IGNORECASE):
                print(json.dumps({"note": "berthd says: " + line[:300]}), flush=True)
        return True

    # What is stored

    def all_blobs(self):
        """Every blob that is listed is what its name says; what images and blobs acknowledged need is listed."""
        listed = set(ids("content", "ls", "-q"))
        for name in listed:
            digest = hashlib.sha256()
            try:
                with open(os.path.join(client.BLOBS, name.split(":")[1]), "rb") as file:
                    while data := file.read(1 << 20):
                        digest.update(data)
            except OSError as error:
                self.fault("blob %s is listed and cannot be read: %s" % (name, error))
                continue
            if "sha256:" + digest.hexdigest() != name:
                self.fault("blob %s has other content" % name)
            self.count("blobs hashed")
        for seed in self.done["image"]:
            for name in self.image(seed).blobs():
                if name not in listed:
                    self.fault("image %d was acknowledged and lacks blob %s" % (seed, name))
        for seed in self.done["blob"]:
            if recipes.digest(recipes.blob(seed)) not in listed:
                self.fault("blob %d was acknowledged and is gone" % seed)
            self.count("acknowledged blobs")

    def all_images(self):
        """Every image that is listed is complete; those acknowledged are listed and unpacked; those removed are not."""
        known = {self.image(seed).name: seed for seed in self.begun["image"]}
        listed = set()
        for line in ctr("images", "check").splitlines()[1:]:
            name = line.split()[0]
            listed.add(name)
            complete = re.search(r"complete \((\d+)/(\d+)\)", line)
            if name not in known:
                self.fault("image %s is listed and nobody made it" % name)
            elif not complete or complete.group(1) != complete.group(2):
                self.fault("image is listed and not whole: " + line)
            elif known[name] in self.done["image"] and not line.rstrip().endswith("true"):
                self.fault("image was acknowledged and is not unpacked: " + line)
            self.count("images listed")
        for seed in self.done["image"]:
            if self.image(seed).name not in listed:
                self.fault("image %d was acknowledged and is gone" % seed)
            self.count("acknowledged images")
        for seed in self.done["removal"]:
            if "docker.io/library/image-%d:latest" % seed in listed:
                self.fault("image %d is back after its acknowledged removal" % seed)
            self.count("acknowledged removals")
        return [known[name] for name in listed if name in known]

    def tree(self, key, expected, base):
        """Compares the tree of a committed snapshot, file by file; `base` lies below it or not."""
        client.run("ctr", "snapshots", "view", VIEW, key)
        try:
            client.mount(VIEW, FOLDER)
            try:
                found = set()
                for parent, _, names in os.walk(FOLDER):
                    found |= {os.path.relpath(os.path.join(parent, name), FOLDER) for name in names}
                for path, data in expected.items():
                    try:
                        with open(os.path.join(FOLDER, path), "rb") as file:
                            content = file.read()
                    except OSError as error:
                        self.fault("snapshot %s: %s" % (key, error))
                        continue
                    if content != data:
                        self.fault("snapshot %s: %s has %d bytes with the digest %s, not the %d of its layer" % (
                            key, path, len(content), recipes.digest(content)[:20], len(data)))
                    self.count("files compared")
                strange = {path for path in found - set(expected) if path.startswith("seed-") or not base}
                if strange:
                    self.fault("snapshot %s: files that its layer has not: %s" % (key, sorted(strange)[:5]))
            finally:
                client.unmount(FOLDER)
        finally:
            ctr("snapshots", "rm", VIEW)

    def all_snapshots(self):
        listed = client.snapshots()
        chains = {self.image(seed).chains[-1]: seed for seed in self.begun["image"]}
        names = {"snapshot-%d" % seed: seed for seed in self.begun["snapshot"]}
        active = {"container-%d" % seed for seed in self.begun["container"]} | {"active-%d" % seed for seed in self.begun["snapshot"]}
        for key, kind in listed.items():
            if kind != "Committed":
                if key not in active and not key.startswith("extract-"):
                    self.fault("%s snapshot %s is listed and nobody made it" % (kind, key))
            elif key in chains:
                image = self.image(chains[key])
                self.tree(key, image.files or recipes.base_files(), True)
                self.count("layers compared")
            elif key in names:
                self.tree(key, recipes.files(names[key]), bool(recipes.parent_of_snapshot(names[key])))
                self.count("commits compared")
            else:
                self.fault("snapshot %s is listed as committed and nobody made it" % key)
        for seed in self.done["image"]:
            if self.image(seed).chains[-1] not in listed:
                self.fault("image %d was acknowledged and its layer is not there" % seed)
        for seed in self.done["snapshot removal"]:
            if "snapshot-%d" % seed in listed:
                self.fault("snapshot %d is back after its acknowledged removal" % seed)
            self.count("acknowledged removals of snapshots")
        for seed in self.done["snapshot"]:
            if listed.get("snapshot-%d" % seed) != "Committed":
                self.fault("snapshot %d was committed and is not" % seed)
            self.count("acknowledged commits")
        return listed

    def all_containers(self, snapshots):
        listed = set(ids("containers", "ls", "-q"))
        for name in listed:
            facts = json.loads(ctr("containers", "info", name))
            if name not in {"container-%d" % seed for seed in self.begun["container"]}:
                self.fault("container %s is listed and nobody made it" % name)
            if facts["SnapshotKey"] not in snapshots or "process" not in facts["Spec"]:
                self.fault("container %s is listed and lacks its snapshot or specification" % name)
            self.count("containers listed")
        for seed in self.done["container"]:
            if "container-%d" % seed not in listed:
                self.fault("container %d was acknowledged and is gone" % seed)
            self.count("acknowledged containers")
        if ids("tasks", "ls", "-q"):
            self.fault("a task is listed on a machine that has just started")
        return listed

    def run_one(self, seeds, containers):
        """The daemon is not only full of good things: it works."""
        for name in sorted(containers)[:1]:
            ctr("tasks", "start", "-d", name)
            for _ in range(SECONDS):
                if "STOPPED" in ctr("tasks", "ls"):
                    break
                time.sleep(0.2)
            ctr("tasks", "rm", name)
            self.count("containers started")
        for seed in sorted(seeds)[-1:]:
            image = self.image(seed)
            path, data = max(image.files.items()) if image.files else ("etc/removed", b"the second layer removes this\n")
            shown = ctr("run", "--rm", image.name, "verify-run", "sha256sum", "/" + path).split()[0]
            if "sha256:" + shown != recipes.digest(data):
                self.fault("a container of image %d reads another file" % seed)
            self.count("containers run")

    # What a client can go on with

    def interrupted_ingests(self):
        """An ingest outside of a lease stays for a day: whoever comes back goes on with it. Only ones that were under way are there, and
        each can be brought to its end."""
        for line in ctr("content", "active").splitlines()[1:]:
            ref = line.split()[0]
            if not ref.startswith("blob-"):
                continue  # of an import, whose lease holds it
            seed = int(ref.split("-")[1])
            if seed not in self.begun["blob"] - self.done["blob"]:
                self.fault("%s is an active ingest, and was not under way" % ref)
            data = recipes.blob(seed)
            ctr("content", "ingest", "--expected-size", str(len(data)), "--expected-digest", recipes.digest(data), ref, data=data)
            self.count("ingests resumed")

    # What is left when nobody holds anything

    def sweep(self, what):
        """Without leases, all that is on the disk is listed, and nothing of an unfinished operation is."""
        leases = ids("leases", "ls", "-q")
        if leases:
            ctr("leases", "rm", *leases)
        ctr("leases", "create", "--id", "sweep")
        ctr("leases", "rm", "--sync", "sweep")
        for _ in range(60):
            wrong = self.remains()
            if not wrong:
                return
            time.sleep(1)
        for text in wrong:
            self.fault("%s: %s" % (what, text))

    @staticmethod
    def remains():
        wrong = []
        listed = client.snapshots()
        wrong += ["snapshot %s is left" % key for key in listed if key.startswith("extract-")]
        if len(ctr("content", "active").splitlines()) > 1:
            wrong.append("ingests are left: " + ctr("content", "active"))
        layers = client.names_in(client.LAYERS)
        if len(layers) != len(listed):
            wrong.append("%d folders of layers for %d snapshots" % (len(layers), len(listed)))
        blobs, names = set(client.names_in(client.BLOBS)), {name.split(":")[1] for name in ids("content", "ls", "-q")}
        if blobs != names:
            wrong.append("blobs on the disk and not listed: %s; listed and not there: %s" % (sorted(blobs - names), sorted(names - blobs)))
        if client.names_in(client.INGESTS):
            wrong.append("folders of ingests: " + ", ".join(client.names_in(client.INGESTS)))
        return wrong

    def clear(self, seeds):
        """Makes room; returns the seeds of images that are kept."""
        for name in ids("containers", "ls", "-q"):
            ctr("containers", "rm", name)
        for key, kind in client.snapshots().items():
            if key.startswith(("snapshot-", "active-", "container-")):
                ctr("snapshots", "rm", key)
        for seed in self.begun["blob"]:
            try:
                ctr("content", "rm", recipes.digest(recipes.blob(seed)))
            except CallFailed:
                pass  # not all of them were taken
        kept = sorted(seeds - {0})[-self.keep:]
        for seed in sorted(seeds - {0} - set(kept)):
            ctr("images", "rm", "--sync", self.image(seed).name)
        self.sweep("after the removal of all but %d images" % len(kept))
        return kept

    def run(self):
        if not self.daemon():
            return []
        self.all_blobs()
        listed = self.all_images()
        containers = self.all_containers(self.all_snapshots())
        self.run_one(self.done["image"], containers)
        self.interrupted_ingests()
        self.sweep("without leases")
        return self.clear(set(listed))


def main():
    verifier = Verifier(json.load(sys.stdin))
    images = []
    try:
        images = verifier.run()
    except (CallFailed, subprocess.CalledProcessError, OSError) as failure:
        verifier.fault("the verification could not go on: %s" % failure)
    print(json.dumps({"verified": verifier.verified, "images": images}), flush=True)


if __name__ == "__main__":
    main()
