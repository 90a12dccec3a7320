#!/usr/bin/python3
"""check_metrics.py TASK CGROUP: compares what `ctr tasks metrics` shows with the files of the task's cgroup (version 2).

Prints "agree", or what does not, and exits with 1. Counters may have grown between two looks at the files, one before and one after.
"""
import json
import os
import subprocess
import sys

UNLIMITED = (1 << 64) - 1


def read(folder, name):
    try:
        with open(os.path.join(folder, name)) as file:
            return file.read().split()
    except OSError:
        return []


def pairs(words):
    return dict(zip(words[::2], map(int, words[1::2])))


def number(words):
    return UNLIMITED if words == ["max"] else int(words[0]) if words else 0


def look(folder):
    """path in the metrics -> value."""
    facts = {("pids", "current"): number(read(folder, "pids.current")), ("memory", "usage"): number(read(folder, "memory.current")),
             ("memory", "usage_limit"): number(read(folder, "memory.max"))}
    limit = number(read(folder, "pids.max"))
    facts[("pids", "limit")] = 0 if limit == UNLIMITED else limit
    for name, value in pairs(read(folder, "cpu.stat")).items():
        facts[("CPU", name)] = value
    for name, value in pairs(read(folder, "memory.events")).items():
        if name in ("low", "high", "max", "oom", "oom_kill"):
            facts[("memory_events", name)] = value
    for name, value in pairs(read(folder, "memory.stat")).items():
        if name in ("anon", "pgfault", "pgmajfault", "inactive_anon", "unevictable", "file"):
            facts[("memory", name)] = value
    return facts


def metrics(task):
    text = subprocess.run(["ctr", "tasks", "metrics", "--format", "json", task], capture_output=True, text=True, check=True).stdout
    return json.loads(text)


def find(tree, path):
    """Names in ctr's JSON have another case here and there; a member that is absent is nought."""
    for name in path:
        tree = next((value for key, value in tree.items() if key.lower().replace("_", "") == name.lower().replace("_", "")), {})
    return tree if tree != {} else 0


def main():
    task, folder = sys.argv[1:]
    before = look(folder)
    shown = metrics(task)
    after = look(folder)
    wrong = []
    for path, low in before.items():
        high = max(after[path], low)
        low = min(after[path], low)
        # Memory comes and goes with the processes of a shell's loop.
        slack = 2 << 20 if path[0] == "memory" and path[1] in ("usage", "anon", "inactive_anon", "file") else 2 if path[0] == "pids" and path[1] == "current" else 0
        value = int(find(shown, path))
        if not low - slack <= value <= high + slack:
            wrong.append("%s: %d, in the cgroup %d to %d" % (".".join(path), value, low, high))
    if before[("CPU", "usage_usec")] == 0:
        wrong.append("the cgroup has used no processor time: nothing was compared")
    print("\n".join(wrong) if wrong else "agree")
    if wrong:
        print(json.dumps(shown))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
