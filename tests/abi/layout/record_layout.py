#!/usr/bin/env python3
"""Writes a C program that prints the layout of everything in berth/abi.h.

The members are read from the header itself, so that a struct or a member that is added is in the record without anybody
having to think of it. Output of the program, one line each: "NAME size N",
"NAME.member offset N size N: its declaration" (a slot with another signature breaks callers as well), "MACRO = N".
"""
import re
import sys


def structs(text):
    """(name, [(member, its declaration), ...]) of every struct with a body, in the order of the header."""
    found = []
    for match in re.finditer(r"typedef struct (berth_\w+) \{(.*?)\n\} \1;", text, re.S):
        body = re.sub(r"/\*.*?\*/", "", match.group(2), flags=re.S)
        members = []
        for declaration in body.split(";"):
            declaration = declaration.strip()
            if not declaration:
                continue
            function = re.search(r"\(\*(\w+)\)\s*\(", declaration)
            name = function.group(1) if function else re.search(r"(\w+)$", declaration).group(1)
            members.append((name, " ".join(declaration.split())))
        found.append((match.group(1), members))
    return found


def constants(text):
    names = re.findall(r"^#define (BERTH_\w+) +\S", text, re.M)
    return [name for name in names if name not in ("BERTH_HAS", "BERTH_ENTRY_SYMBOL", "BERTH_ABI_MINOR")]


def main():
    with open(sys.argv[1], encoding="utf-8") as header:
        text = header.read()
    out = ["#include <berth/abi.h>", "#include <stdio.h>", "int main(void) {",
           '  printf("entry %s\\n", BERTH_ENTRY_SYMBOL);']
    for name in constants(text):
        out.append('  printf("%s = %%lld\\n", (long long)%s);' % (name, name))
    for name, members in structs(text):
        out.append('  printf("%s size %%zu\\n", sizeof(%s));' % (name, name))
        for member, declaration in members:
            out.append('  printf("%s.%s offset %%zu size %%zu: %s\\n", offsetof(%s, %s), sizeof(((%s *)0)->%s));'
                       % (name, member, declaration, name, member, name, member))
    out += ["  return 0;", "}", ""]
    with open(sys.argv[2], "w", encoding="utf-8") as program:
        program.write("\n".join(out))


if __name__ == "__main__":
    main()
