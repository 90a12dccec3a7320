"""What a power loss may not harm, made from numbers: the same seed gives the same image, files and blob, before and after."""
import functools
import gzip
import hashlib
import io
import os
import random
import sys
import tarfile

sys.path.insert(0, "/payload/integration")
import make_image  # noqa: E402  pylint: disable=wrong-import-position

BASE = "docker.io/library/base:latest"


def files(seed):
    """path -> content: some directories of small files, one file of some megabytes."""
    source = random.Random(seed)
    found = {"seed-%d/large" % seed: source.randbytes(source.randrange(1 << 20, 3 << 20))}
    for number in range(80):
        found["seed-%d/d%d/f%d" % (seed, number % 7, number)] = source.randbytes(source.randrange(1, 9000))
    return found


def blob(seed):
    source = random.Random("blob %d" % seed)
    return source.randbytes(source.randrange(1, 2 << 20))


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def chain(parent, diff):
    return digest((parent + " " + diff).encode()) if parent else diff


@functools.cache
def base_layer():
    """(bytes, compressed) of busybox: the first layer of all images. The host has made it, being faster."""
    with open("/payload/base.tar", "rb") as plain, open("/payload/base.tar.gz", "rb") as compressed:
        return plain.read(), compressed.read()


def base_files():
    with tarfile.open(fileobj=io.BytesIO(base_layer()[0])) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar if info.isreg()}


def parent_of_snapshot(seed):
    """Every other one has none: that is a bind mount, and the end of it syncs nothing, as that of an overlay would."""
    return Image(0).chains[0] if seed % 4 == 2 else ""


class Image:
    """Seed 0 is the base alone; every other has a layer of its own on top, compressed or not."""

    def __init__(self, seed):
        self.name = BASE if seed == 0 else "docker.io/library/image-%d:latest" % seed
        self.files = files(seed) if seed else {}
        plain, compressed = base_layer()
        layers = [(plain, compressed)]
        if seed:
            layer, folders = make_image.Layer(), set()
            for path, data in self.files.items():
                parent = os.path.dirname(path)
                for folder in (os.path.dirname(parent), parent):
                    if folder and folder not in folders:
                        folders.add(folder)
                        layer.directory(folder)
                layer.file(path, data)
            data = layer.bytes()
            layers.append((data, gzip.compress(data, 1, mtime=0) if seed % 2 else data))
        self.archive = make_image.Archive()
        self.chains, diffs, descriptors = [], [], []
        for plain, packed in layers:
            diffs.append(digest(plain))
            self.chains.append(chain(self.chains[-1] if self.chains else "", diffs[-1]))
            kind = "application/vnd.oci.image.layer.v1.tar" + ("" if plain is packed else "+gzip")
            descriptors.append({"mediaType": kind, "digest": self.archive.add(packed), "size": len(packed)})
        config = self.archive.add_json("application/vnd.oci.image.config.v1+json", {
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=" + make_image.PATH]},
            "rootfs": {"type": "layers", "diff_ids": diffs}})
        self.manifest = self.archive.add_json("application/vnd.oci.image.manifest.v1+json", {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": descriptors})

    def blobs(self):
        return list(self.archive.blobs)

    def write(self, path):
        manifest = dict(self.manifest, platform={"architecture": "amd64", "os": "linux"}, annotations={"io.containerd.image.name": self.name})
        self.archive.write(path, {"schemaVersion": 2, "manifests": [manifest]})
