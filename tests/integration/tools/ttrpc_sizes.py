#!/usr/bin/python3
"""Sends messages over the limit to a ttrpc socket, and good ones after them on the same connection.

    ttrpc_sizes.py SOCKET

Prints the code of every answer. The good message is an event as a shim forwards it. ttrpc: a header of 10 bytes (length,
stream, type, flags) and a message; containerd's limit is 4 MiB for each.
"""
import socket
import struct
import sys

CODES = ("OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
         "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS").split()
REQUEST, RESPONSE = 1, 2


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def request(payload):
    namespace = field(1, b"containerd-namespace-ttrpc") + field(2, b"berth-it")
    return (field(1, b"containerd.services.events.ttrpc.v1.Events") + field(2, b"Forward") + field(3, payload) +
            field(5, namespace))


def event(padding):
    envelope = (field(1, field(1, 1700000000)) + field(2, b"berth-it") + field(3, b"/tasks/none") +
                field(4, field(1, b"containerd.events.TaskStart") + field(2, field(1, b"x" * padding))))
    return field(1, envelope)


def read_fields(data):
    at = 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            size = number()
            yield key >> 3, data[at:at + size]
            at += size


def exactly(connection, size):
    data = b""
    while len(data) < size:
        got = connection.recv(size - len(data))
        if not got:
            sys.exit("the daemon closed the connection")
        data += got
    return data


def answer(connection):
    """Stream, code and message of the next response."""
    size, stream, kind, _ = struct.unpack(">IIBB", exactly(connection, 10))
    body = exactly(connection, size)
    assert kind == RESPONSE, kind
    for number, value in read_fields(body):
        if number == 1:
            status = dict(read_fields(value))
            return stream, CODES[status.get(1, 0)], status.get(2, b"").decode()
    return stream, "OK", ""


def main():
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(sys.argv[1])
    stream = 1
    for name, padding in (("small", 10), ("5 MB", 5_000_000), ("small", 10), ("17 MB", 17_000_000), ("small", 10)):
        body = request(event(padding))
        connection.sendall(struct.pack(">IIBB", len(body), stream, REQUEST, 0) + body)
        answered, code, message = answer(connection)
        print("%s: %s%s" % (name, code, "" if answered == stream else " (for another call)"))
        if message:
            print(message, file=sys.stderr)
        stream += 2


if __name__ == "__main__":
    main()
