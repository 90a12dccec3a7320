#!/usr/bin/python3
"""Writes a small OCI image archive of Debian's busybox-static, the same bytes every time.

    make_image.py OUT.tar [--name docker.io/library/busybox:latest] [--layers 1..N] [--compression gzip|none]
                  [--damage digest|size|truncate|gzip|diffid|flip|no-json] [--evil KIND] [--bulk MEGABYTES] [--docker]

The first layer holds busybox and links for its applets, /etc and /tmp; the second (with --layers 2 and more) a file,
a whiteout and an opaque directory; further ones a file each. --damage and --evil make the archives that a daemon has
to refuse.
"""
import argparse
import gzip
import hashlib
import io
import json
import random
import subprocess
import tarfile

BUSYBOX = "/bin/busybox"
EPOCH = 1700000000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Layer:
    """A tar archive with fixed owners and times."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)

    def _info(self, name, mode, kind):
        info = tarfile.TarInfo(name)
        info.mode, info.type, info.mtime = mode, kind, EPOCH
        return info

    def directory(self, name, mode=0o755):
        self.tar.addfile(self._info(name, mode, tarfile.DIRTYPE))

    def file(self, name, data, mode=0o644):
        info = self._info(name, mode, tarfile.REGTYPE)
        info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data))

    def link(self, name, target, kind=tarfile.SYMTYPE):
        info = self._info(name, 0o777 if kind == tarfile.SYMTYPE else 0o644, kind)
        info.linkname = target
        self.tar.addfile(info)

    def device(self, name, major, minor):
        info = self._info(name, 0o666, tarfile.CHRTYPE)
        info.devmajor, info.devminor = major, minor
        self.tar.addfile(info)

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


def base_layer():
    layer = Layer()
    for name, mode in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("dev", 0o755),
                       ("proc", 0o755), ("sys", 0o755), ("opt", 0o755)]:
        layer.directory(name, mode)
    with open(BUSYBOX, "rb") as busybox:
        layer.file("bin/busybox", busybox.read(), 0o755)
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    for applet in sorted(applets.stdout.split()):
        if applet != "busybox":
            layer.link("bin/" + applet, "busybox")
    layer.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    layer.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    layer.file("etc/removed", b"the second layer removes this\n")
    layer.file("opt/hidden", b"the second layer hides this\n")
    return layer.bytes()


def later_layer(number):
    layer = Layer()
    layer.file("layer-%d.txt" % number, b"layer %d\n" % number)
    if number == 2:
        layer.file("etc/.wh.removed", b"")
        layer.directory("opt")
        layer.file("opt/.wh..wh..opq", b"")
        layer.file("opt/shown", b"shown\n")
        layer.file("hard-a", b"one inode\n")
        layer.link("hard-b", "hard-a", tarfile.LNKTYPE)
        layer.link("dangling", "/nowhere")
    return layer.bytes()


def bulk_layer(megabytes):
    layer = Layer()
    layer.file("bulk", random.Random(megabytes).randbytes(megabytes << 20))
    return layer.bytes()


def evil_layer(kind):
    """Layers that try to reach what is outside of the root file system, or are wrong in another way."""
    layer = Layer()
    if kind == "climb-path":
        layer.file("../../../../../../../../tmp/berth-evil", b"evil\n")
    elif kind == "climb-absolute-link":
        layer.link("escape", "/tmp")
        layer.file("escape/berth-evil", b"evil\n")
    elif kind == "climb-relative-link":
        layer.link("escape", "../../../../../../../../../../tmp")
        layer.file("escape/berth-evil", b"evil\n")
    elif kind == "climb-hard-link-by-link":
        layer.link("etc-of-host", "/etc")
        layer.link("shadow", "etc-of-host/hostname", tarfile.LNKTYPE)
    elif kind == "climb-whiteout":
        layer.link("out", "/tmp")
        layer.file("out/.wh.berth-victim", b"")
        layer.file(".wh...", b"")
        layer.file("x/.wh...", b"")
    elif kind == "climb-device":  # a device at a path outside
        info = layer._info("../../../../../../../../tmp/berth-evil", 0o666, tarfile.CHRTYPE)
        info.devmajor, info.devminor = 1, 3
        layer.tar.addfile(info)
    elif kind == "climb-device-by-link":
        layer.link("escape", "/tmp")
        layer.device("escape/berth-evil", 1, 3)
    elif kind == "climb-directory-by-link":  # the mode of a directory outside
        layer.link("escape", "/tmp/berth-victim-dir")
        layer.directory("escape", 0o7777)
        layer.link("escape-2", "/tmp/berth-victim-dir")
        layer.file("escape-2/berth-evil", b"evil\n")
    elif kind == "absolute":
        layer.file("/tmp/berth-evil", b"evil\n")
    elif kind == "root-is-a-file":
        layer.file("./", b"")
        layer.file(".", b"evil\n")
    elif kind == "long-name":
        layer.file("/".join(["d" * 200] * 30), b"deep\n")
    elif kind == "NUL-name":
        layer.file("a\0b", b"nul\n")
    elif kind == "climb-hard-link":
        layer.link("shadow", "../../../../../../../../etc/hostname", tarfile.LNKTYPE)
    elif kind == "hard-link-attributes":  # the entry of the link disagrees with that of the file
        layer.file("one", b"one inode\n", 0o644)
        info = layer._info("two", 0o600, tarfile.LNKTYPE)
        info.linkname, info.uid, info.gid, info.mtime = "one", 5, 6, EPOCH + 100
        layer.tar.addfile(info)
    elif kind == "device":
        layer.device("null-again", 1, 3)
    elif kind == "truncated":
        return base_layer()[: -200 * 1024]
    else:
        raise SystemExit("unknown kind of layer: " + kind)
    return layer.bytes()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Archive:
    """An OCI layout in a tar archive."""

    def __init__(self):
        self.blobs = {}

    def add(self, data):
        self.blobs[digest(data)] = data
        return digest(data)

    def add_json(self, media_type, value):
        data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
        return {"mediaType": media_type, "digest": self.add(data), "size": len(data)}

    def write(self, path, index, manifest=None):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
                     "index.json": json.dumps(index, sort_keys=True).encode()}
            if manifest is not None:
                files["manifest.json"] = json.dumps(manifest, sort_keys=True).encode()
            files.update({"blobs/" + key.replace(":", "/"): data for key, data in self.blobs.items()})
            for name in sorted(files, key=lambda n: (n != "oci-layout", n)):
                info = tarfile.TarInfo(name)
                info.size, info.mode, info.mtime = len(files[name]), 0o644, EPOCH
                tar.addfile(info, io.BytesIO(files[name]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--name", default="docker.io/library/busybox:latest")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--compression", choices=["gzip", "none"], default="gzip")
    parser.add_argument("--damage", choices=["digest", "size", "truncate", "gzip", "diffid", "flip", "no-json"])
    parser.add_argument("--evil", help="a last layer of a kind that evil_layer() knows")
    parser.add_argument("--manifest-padding", type=int, default=0, help="bytes of an annotation in the manifest")
    parser.add_argument("--index-depth", type=int, default=0, help="indexes around the manifest")
    parser.add_argument("--bulk", type=int, default=0, help="megabytes of a file /bulk that does not compress")
    parser.add_argument("--cmd", default="/bin/sh")
    parser.add_argument("--docker", action="store_true", help="with the manifest.json that \"docker load\" wants")
    args = parser.parse_args()

    archive = Archive()
    layers = [base_layer()] + [later_layer(n) for n in range(2, args.layers + 1)]
    if args.evil:
        layers.append(evil_layer(args.evil))
    if args.bulk:
        layers.append(bulk_layer(args.bulk))
    descriptors, diff_ids = [], []
    for layer in layers:
        diff_ids.append(digest(layer))
        media_type = "application/vnd.oci.image.layer.v1.tar"
        if args.compression == "gzip":
            layer = gzip.compress(layer, 1 if args.bulk else 6, mtime=0)
            media_type += "+gzip"
        if args.damage == "gzip":
            layer = layer[: len(layer) // 2] + b"\0" * 64 + layer[len(layer) // 2 + 64:]
        descriptors.append({"mediaType": media_type, "digest": archive.add(layer), "size": len(layer)})
    if args.damage == "size":
        descriptors[-1]["size"] += 1
    if args.damage == "diffid":
        diff_ids[-1] = digest(b"something else")

    config = archive.add_json("application/vnd.oci.image.config.v1+json", {
        "architecture": "amd64", "os": "linux", "created": "2023-11-14T22:13:20Z",
        "config": {"Cmd": [args.cmd], "Env": ["PATH=" + PATH]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "make_image.py"} for _ in layers]})
    manifest_value = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                      "config": config, "layers": descriptors}
    if args.manifest_padding:
        manifest_value["annotations"] = {"padding": "x" * args.manifest_padding}
    manifest = archive.add_json("application/vnd.oci.image.manifest.v1+json", manifest_value)
    manifest["platform"] = {"architecture": "amd64", "os": "linux"}
    for _ in range(args.index_depth):
        manifest = archive.add_json("application/vnd.oci.image.index.v1+json", {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]})
    manifest["annotations"] = {"io.containerd.image.name": args.name,
                               "org.opencontainers.image.ref.name": args.name.rsplit(":", 1)[-1]}
    if args.damage == "digest":
        victim = descriptors[0]["digest"]
        archive.blobs[victim] = archive.blobs[victim][:-1] + b"!"
    if args.damage == "flip":  # one bit in the middle of the first layer
        victim = descriptors[0]["digest"]
        data = bytearray(archive.blobs[victim])
        data[len(data) // 2] ^= 1
        archive.blobs[victim] = bytes(data)
    if args.damage == "no-json":
        archive.blobs[manifest["digest"]] = b"{" * 1000
    blob = lambda descriptor: "blobs/" + descriptor["digest"].replace(":", "/")
    for_docker = [{"Config": blob(config), "RepoTags": [args.name.removeprefix("docker.io/library/")],
                   "Layers": [blob(layer) for layer in descriptors]}]
    archive.write(args.out, {"schemaVersion": 2, "manifests": [manifest]}, for_docker if args.docker else None)
    if args.damage == "truncate":
        with open(args.out, "r+b") as out:
            out.seek(0, io.SEEK_END)
            out.truncate(out.tell() // 2)


if __name__ == "__main__":
    main()
