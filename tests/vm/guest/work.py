#!/usr/bin/python3
"""work.py SEED [IMAGE-SEED...]: imports, unpacks, commits, creates and removes without end, until the power fails; deletes the images named.

Writes a line of JSON before each operation, {"begin": KIND, "seed": N}, and when the daemon has acknowledged it, {"done": ...}.
"""
import itertools
import json
import os
import sys
import threading

import recipes
from client import CallFailed, ctr, mount, raw_call, unmount

ROOT_LABEL = 'labels { key: "containerd.io/gc.root" value: "yes" }'
lock = threading.Lock()


def say(word, kind, seed):
    with lock:
        print(json.dumps({word: kind, "seed": seed}), flush=True)


def write_image(seed):
    path = "/tmp/image-%d.tar" % seed
    if not os.path.exists(path):
        recipes.Image(seed).write(path)
    return path


def import_image(seed):
    path = write_image(seed)
    say("begin", "image", seed)
    ctr("images", "import", path)
    say("done", "image", seed)
    os.unlink(path)


def ingest_blob(seed):
    data = recipes.blob(seed)
    say("begin", "blob", seed)
    for attempt in range(10):
        try:
            ctr("content", "ingest", "--expected-size", str(len(data)), "--expected-digest", recipes.digest(data), "blob-%d" % seed, data=data)
            ctr("content", "label", recipes.digest(data), "containerd.io/gc.root=yes")
            break
        except CallFailed as failure:
            # Nothing holds it until it has its label, and removals of images collect; as with containerd.
            if "not found" not in str(failure) or attempt == 9:
                raise
    say("done", "blob", seed)


def commit_snapshot(seed):
    key, name, folder = "active-%d" % seed, "snapshot-%d" % seed, "/tmp/mount-%d" % seed
    content, parent = recipes.files(seed), recipes.parent_of_snapshot(seed)
    say("begin", "snapshot", seed)
    raw_call("snapshots.v1.Snapshots/Prepare", 'snapshotter: "overlayfs" key: "%s" parent: "%s" %s' % (key, parent, ROOT_LABEL))
    mount(key, folder)
    for path, data in content.items():
        os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
        with open(os.path.join(folder, path), "wb") as out:
            out.write(data)
    unmount(folder)
    raw_call("snapshots.v1.Snapshots/Commit", 'snapshotter: "overlayfs" name: "%s" key: "%s" %s' % (name, key, ROOT_LABEL))
    say("done", "snapshot", seed)


def create_container(seed):
    say("begin", "container", seed)
    ctr("containers", "create", recipes.BASE, "container-%d" % seed, "true")
    say("done", "container", seed)


def remove_image(seed):
    name = "docker.io/library/image-%d:latest" % seed
    say("begin", "removal", seed)
    ctr("images", "rm", "--sync", name)
    say("done", "removal", seed)


STEP = 10  # from one seed of a worker to its next


def remove_image_before(seed):
    remove_image(seed - STEP)


def remove_snapshot_before(seed):
    say("begin", "snapshot removal", seed - STEP)
    ctr("snapshots", "rm", "snapshot-%d" % (seed - STEP))
    say("done", "snapshot removal", seed - STEP)


def worker(works, seeds):
    for work, seed in zip(itertools.cycle(works), seeds):
        try:
            work(seed)
        except CallFailed as failure:
            with lock:
                print(json.dumps({"failed": str(failure)}), flush=True)
            return


def main():
    seed, old = int(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    if recipes.BASE not in ctr("images", "ls", "-q"):
        import_image(0)
    todo = [([import_image], itertools.count(seed, STEP)), ([create_container], itertools.count(seed + 1, STEP)),
            ([ingest_blob, commit_snapshot], itertools.count(seed + 2, STEP)), ([import_image, remove_image_before], itertools.count(seed + 3, STEP)),
            ([commit_snapshot, remove_snapshot_before], itertools.count(seed + 4, STEP)), ([remove_image], old)]
    write_image(seed)  # so that all begin together
    threads = [threading.Thread(target=worker, args=one) for one in todo]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
