"""The ABI header as it was at an earlier minor, and as it may be at a later one.

A minor adds members at the ends of structs that have a struct_size, and nothing else. So today's header without what an earlier
record does not have is that minor's header, and today's with something at each end is one that could follow.

  minors.py older HEADER RECORD OUT   the header of the record's minor
  minors.py newer HEADER OUT          a header of the next minor: a member `newest` at the end of each struct that may grow
  minors.py before HEADER RECORD OUT  a header of the minor before the record's, as if the last member of each struct that plugins
                                      give to the host had come with the record; for a time when there is only one minor
"""
import re
import sys

from check_layout import FROZEN, parse
from record_layout import structs


def without_comments(text):
    """The text with blanks in place of comments, so that positions stay."""
    return re.sub(r"/\*.*?\*/", lambda match: re.sub(r"\S", " ", match.group(0)), text, flags=re.S)


def minor_of(header):
    return int(re.search(r"^#define BERTH_ABI_MINOR (\d+)u", header, re.M).group(1))


def with_minor(header, minor):
    return re.sub(r"^(#define BERTH_ABI_MINOR )\d+u", rf"\g<1>{minor}u", header, flags=re.M)


def members(record):
    """{struct: names of its members} of a record."""
    return {name: [line.split()[0].split(".")[1] for line in lines] for name, (_, lines) in parse(record)[1].items()}


def body(header, struct):
    """Where the members of a struct stand: (begin, end)."""
    match = re.search(rf"typedef struct {struct} \{{(.*?\n)\}} {struct};", header, re.S)
    return match.span(1)


def older(header, record, minor):
    """`header` with those members alone that `record` has. ValueError when that would need more than cutting ends off."""
    kept = members(record)
    for struct, today in structs(header):
        if struct not in kept or struct in FROZEN:  # one that has grown all the same is for the checks to see
            continue
        names = [name for name, _ in today]
        if names[:len(kept[struct])] != kept[struct]:
            raise ValueError(f"{struct} has not only grown at its end since the record")
        if len(names) == len(kept[struct]):
            continue
        begin, end = body(header, struct)
        code, at = without_comments(header), begin
        for _ in kept[struct]:
            at = code.index(";", at) + 1
        header = header[:at] + "\n" + header[end:]
    return with_minor(header, minor)


def newer(header):
    for struct, _ in structs(header):
        if struct not in FROZEN:
            end = body(header, struct)[1]
            header = header[:end] + "  uint64_t newest; /* nothing, for a test */\n" + header[end:]
    return with_minor(header, minor_of(header) + 1)


# What a plugin gives to the host, which must not read further than the plugin's own struct_size. berth_module is as at first: none
# of its members can be missing. Of the host's own table a plugin sees no more than its header has.
GIVEN_TO_THE_HOST = ("berth_peer", "berth_call_options", "berth_service", "berth_plugin")


def record_before(record):
    lines = record.splitlines(keepends=True)
    for struct in GIVEN_TO_THE_HOST:
        last = max(i for i, line in enumerate(lines) if line.startswith(struct + "."))
        del lines[last]
    return "".join(lines)


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        header = file.read()
    if sys.argv[1] in ("older", "before"):
        with open(sys.argv[3], encoding="utf-8") as file:
            record = file.read()
        minor = int(re.search(r"berth/abi.h \d+\.(\d+)", record).group(1))
        made = older(header, record, minor) if sys.argv[1] == "older" else older(header, record_before(record), minor - 1)
    else:
        made = newer(header)
    with open(sys.argv[-1], "w", encoding="utf-8") as out:
        out.write(made)


if __name__ == "__main__":
    main()
