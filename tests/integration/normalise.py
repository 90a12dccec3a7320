"""Makes the outputs of two runs comparable: what differs by nature becomes a word."""
import re

RULES = [
    # 2026-11-24T21:00:00.123456789Z, 2026-11-24 21:00:00 +0000 UTC, 11/24/2026
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d)( UTC)?)?", "TIME"),
    (r"seconds:\d+( +nanos:\d+)?", "TIME"),
    (r"\b(About |Less than )?(a|an|\d+) (nanosecond|microsecond|millisecond|second|minute|hour|day)s?( ago)?\b", "AGE"),
    (r"\b\d+(\.\d+)?(ns|us|µs|ms|s|m\d+(\.\d+)?s)\b", "DURATION"),
    (r"\belapsed: *\S+", "elapsed: DURATION"),
    (r"\b\d+(\.\d+)? ?[KMG]?i?B/s", "RATE"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"\b127\.0\.0\.1:\d+", "LOOPBACK"),
    # Process ids, where ctr prints them
    (r"(?<=\s)\d+(?=\s+(RUNNING|STOPPED|CREATED|PAUSED|PAUSING|UNKNOWN)\b)", "PID"),
    (r"^\d+(?=\s+(-|\{|\S*exec\S*)\s*$)", "PID"),
    (r"(?m)^(\s*\"?[Pp]id\"?: *)\d+", r"\1PID"),
    # Each snapshotter numbers its folders as it likes
    (r"/snapshots/\d+", "/snapshots/N"),
    (r"/active/\d+", "/active/N"),
    (r"/view/\d+", "/view/N"),
    (r"\bsubvolid=\d+", "subvolid=N"),
]


def _sorted_labels(match):
    """Labels come out of a map of Go's, in no order."""
    return ",".join(sorted(match.group(0).split(",")))


def normalise(text, places):
    """`places`: folder -> word, for paths that belong to one run."""
    for place, word in sorted(places.items(), key=lambda item: -len(item[0])):
        text = text.replace(place, word)
    lines = []
    for line in text.replace("\r", "\n").splitlines():
        for pattern, word in RULES:
            line = re.sub(pattern, word, line)
        line = re.sub(r"(?<!\S)[\w./-]+=[^,\s]*(,[\w./-]+=[^,\s]*)+", _sorted_labels, line)
        line = re.sub(r"[ \t]+", " ", line).rstrip()
        if line:
            lines.append(line)
    return "\n".join(lines)


# The ends of error messages by which containerd's Go client names the class of an error.
CLASSES = ("not found", "already exists", "invalid argument", "failed precondition", "unavailable", "not implemented",
           "context canceled", "context deadline exceeded", "permission denied", "out of range", "aborted",
           "unimplemented", "unknown", "data loss", "internal")


def error_class(text):
    """The class of the last error message of `text`: the words differ between daemons, the class may not."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    code = re.search(r"code = (\w+)", lines[-1])
    if code:
        return code.group(1)
    last = lines[-1].rsplit(": ", 1)[-1].strip()
    return next((name for name in CLASSES if last.endswith(name)), "other")
