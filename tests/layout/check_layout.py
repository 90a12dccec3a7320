#!/usr/bin/env python3
"""Holds the boundaries of the repository: who may include whom, the shape of a plugin folder, code shown in documents.

Usage: check_layout.py ROOT. Prints every violation as FILE:LINE and exits 1 when there is one.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')
NAMED_BLOCK = re.compile(r"^<!-- (\S+/\S+) -->$")
GENERATED = re.compile(r"\.(pb|berth)\.h$")
SOURCES = (".cc", ".h", ".c")
PLUGIN_FILES = ("README.md", "plugin.toml", "CMakeLists.txt", "plugin.cc")
HOST_PARTS = ("abi", "builtin", "bus", "config", "graph", "lifecycle", "link", "manifest", "ops", "process", "proxy", "rpc")


def includes(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


def sources(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in SOURCES)


def check_plugin(folder, complain):
    for name in PLUGIN_FILES:
        if not (folder / name).is_file():
            complain(folder, 0, f"a plugin folder has a {name}")
    for path in sources(folder):
        for number, quote, name in includes(path):
            if quote == "<" or name.startswith("berth/") or GENERATED.search(name):
                continue
            own = (folder / name).is_file() or (path.parent / name).is_file()
            of_sdk_tests = (path.name.endswith("_test.cc") or path.name == "testing.h") and name.startswith("testing/")
            if not (own or of_sdk_tests or name.startswith("google/protobuf/")):
                complain(path, number, f'a plugin includes only <system>, berth/, generated headers and its own; not "{name}"')


def check_host(folder, complain):
    for path in sources(folder):
        for number, quote, name in includes(path):
            if "plugins/" in name or name.startswith("snapshot") or name == "berth/snapshot_records.h":
                complain(path, number, f"the host includes no plugin and knows no container: {name}")
            if quote == '"' and not (GENERATED.search(name) or (folder / name).is_file()):
                complain(path, number, f"the host includes its own parts as PART/file.h: {name}")
        if "containerd/services/" in path.read_text(encoding="utf-8") and path.parent.name != "builtin":
            complain(path, 0, "only host/builtin speaks a service of containerd's API")


def check_document(path, root, complain):
    """A fenced block below a comment that names a file is that file, word for word."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        named = NAMED_BLOCK.match(line)
        if not named:
            continue
        source = root / named.group(1)
        if not source.is_file():
            complain(path, number, f"there is no {named.group(1)}")
            continue
        end = next((i for i in range(number + 1, len(lines)) if lines[i].startswith("```")), len(lines))
        if "".join(lines[number + 1:end]) != source.read_text(encoding="utf-8"):
            complain(path, number, f"the block differs from {named.group(1)}")


def main():
    root = pathlib.Path(sys.argv[1])
    problems = []

    def complain(path, line, text):
        problems.append(f"{path.relative_to(root)}:{line}: {text}")

    plugins = sorted(path for path in (root / "plugins").iterdir() if path.is_dir())
    if not plugins:
        complain(root / "plugins", 0, "there is no plugin")
    for folder in plugins:
        check_plugin(folder, complain)
    check_host(root / "host", complain)
    for path in sources(root / "plugin-sdk"):
        for number, quote, name in includes(path):
            if quote == '"' and any(name.startswith(part + "/") for part in HOST_PARTS) and "fake-host" not in path.parts:
                complain(path, number, f"the SDK does not include the host: {name}")
    for path in sorted(root.glob("docs/**/*.md")) + sorted(root.glob("*.md")):
        check_document(path, root, complain)
    for problem in problems:
        print(problem)
    print(f"{len(plugins)} plugin folders looked at, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
