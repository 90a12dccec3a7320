#!/usr/bin/env python3
"""Everything that berth/abi.h declares has its contract: a comment above it or behind it.

Usage: contract_test.py HEADER. A slot's comment begins with the thread that may call it, says what the outcomes are where it
returns one, and how long what it returns lives. `struct_size` and `spare` are explained for all structs at the top.
"""
import re
import sys
import unittest

EXPLAINED_AT_THE_TOP = ("struct_size", "spare")
THREADS = re.compile(r"(any-thread|init-thread|serial-per-side)\b")
LIFETIME = re.compile(r"for ever|[Uu]ntil|[Rr]elease|[Ff]reed")
OUTCOME = re.compile(r"\bOK\b|\b0\b|\b1\b|BERTH_|Returns|CLOCK_MONOTONIC|How many")


def declarations(text):
    """(line, kind, name, returned type or "", comment) of everything that is declared, in the order of the header."""
    text = text[text.index('extern "C" {'):text.rindex("#ifdef __cplusplus")]
    comment, above, struct = "", "", None
    pending = ""
    for number, line in enumerate(text.splitlines(), 1):
        if comment:  # within one of several lines
            comment += " " + line.strip().lstrip("* ")
            if line.rstrip().endswith("*/"):
                above, comment = comment, ""
            continue
        stripped = line.strip()
        if stripped.startswith("/*"):
            if stripped.endswith("*/"):
                above = stripped
            else:
                comment = stripped
            continue
        if not stripped:
            above = above if pending else ""
            continue
        behind = re.search(r"/\*.*\*/$", stripped)
        code = stripped[:behind.start()].strip() if behind else stripped
        said = behind.group(0) if behind else above
        define = re.match(r"#define (\w+)", code)
        if define:
            yield number, "constant", define.group(1), "", said
            above = ""
            continue
        if code.startswith(("#", "((")):  # the body of a macro
            continue
        opened = re.match(r"typedef struct (\w+) \{$", code)
        if opened:
            struct = opened.group(1)
            yield number, "struct", struct, "", said
            above = ""
            continue
        if struct and re.match(r"\} \w+;$", code):
            struct, above = None, ""
            continue
        pending = (pending + " " + code).strip()
        if not pending.endswith(";"):
            continue
        declared, pending = pending, ""
        slot = re.match(r"(typedef )?(.*?)\(\*(\w+)\)\(", declared)
        if slot:
            kind = "function type" if slot.group(1) else "slot"
            name, returns = slot.group(3), slot.group(2).strip()
        else:
            kind, returns = ("member" if struct else "type"), ""
            name = re.search(r"(\w+);$", declared).group(1)
        yield number, kind, (struct + "." if struct else "") + name, returns, said
        above = ""


def faults(text):
    """What lacks a contract, one line each."""
    wrong = []
    for line, kind, name, returns, comment in declarations(text):
        if name.split(".")[-1] in EXPLAINED_AT_THE_TOP:
            continue
        said = comment.strip("/* ")
        if not said:
            wrong.append(f"{kind} {name} has no comment")
            continue
        if kind != "slot":
            continue
        if not THREADS.match(said):
            wrong.append(f"slot {name}: the comment does not begin with a thread tag")
        if re.search(r"\*$|^berth_(str|bytes)$", returns) and not LIFETIME.search(said):
            wrong.append(f"slot {name}: returns {returns} and does not say how long that lives")
        if re.match(r"u?int", returns) and not OUTCOME.search(said):
            wrong.append(f"slot {name}: returns {returns} and does not say what")
    return wrong


class Contract(unittest.TestCase):
    def setUp(self):
        with open(HEADER, encoding="utf-8") as header:
            self.text = header.read()

    def test_everything_declared_has_its_contract(self):
        self.assertEqual(faults(self.text), [])

    def test_nothing_is_overlooked(self):
        """As many as there are by a plain count, so that the reader of declarations cannot pass some over."""
        seen = [(kind, name) for _, kind, name, _, _ in declarations(self.text)]
        body = re.sub(r"/\*.*?\*/", "", self.text, flags=re.S)
        self.assertEqual(sum(kind in ("slot", "function type") for kind, _ in seen), len(re.findall(r"\(\*\w+\)\(", body)))
        self.assertEqual(sum(kind == "struct" for kind, _ in seen), len(re.findall(r"typedef struct \w+ \{", body)))
        self.assertEqual(sum(kind == "constant" for kind, _ in seen), body.count("#define ") - body.count("#define BERTH_ABI_H"))
        statements = re.findall(r"[^;{}#]*;", re.sub(r"^#.*(\\\n.*)*$", "", body, flags=re.M))
        ends = len(re.findall(r"\} \w+;", body))  # of structs
        self.assertEqual(sum(kind != "constant" and kind != "struct" for kind, _ in seen), len(statements) - ends)

    def check_without(self, pattern, name):
        """Without that comment, the declaration is named."""
        cut, count = re.subn(pattern, "", self.text, count=1, flags=re.S)
        self.assertEqual(count, 1, pattern)
        self.assertIn(name, "\n".join(faults(cut)))

    def test_what_lacks_one_is_named(self):
        self.check_without(r" */\* nothing was taken or given[^/]*\*/", "constant BERTH_AGAIN")
        self.check_without(r"/\* Borrowed text\..*?\*/", "struct berth_str")
        self.check_without(r" */\* CLOCK_MONOTONIC nanoseconds, or[^/]*\*/(?=\n\} berth_call_options)", "berth_call_options.deadline")
        self.check_without(r"/\* any-thread\. One line, .*?\*/", "slot berth_host.log")
        self.check_without(r"/\* What the host runs for a plugin.*?\*/", "function type berth_callback")
        self.check_without(r" */\* a plugin that one is connected to[^/]*\*/", "type berth_target")

    def test_a_slot_without_its_thread_or_lifetime_is_named(self):
        self.check_without(r"any-thread\. (?=This instance's configuration)", "slot berth_host.config: the comment does not begin")
        self.check_without(r" Valid until finish\.(?= \*/\n  berth_str \(\*header\))", "slot berth_host.header: returns berth_str")


if __name__ == "__main__":
    HEADER = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
