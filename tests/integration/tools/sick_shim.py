#!/usr/bin/python3
"""A shim that is ill in one way.

    sick_shim.py SICKNESS ARGUMENTS OF A SHIM...

    deaf      listens, accepts, never answers
    nowhere   names a socket that does not exist
    dead      has ended when its address is read; the socket is there
    create    ends when it is asked to create a task
    start     creates one, ends when it is asked to start it
    frozen    creates and starts one, and answers nothing from then on
    garbage   answers with bytes that are no ttrpc

install DIRECTORY: writes programs containerd-shim-SICKNESS-v1 there, for runtimes io.berth.SICKNESS.v1.
"""
import os
import socket
import struct
import sys
import time

from ttrpc_sizes import RESPONSE, exactly, field, read_fields

SICKNESSES = ("deaf", "nowhere", "dead", "create", "start", "frozen", "garbage")
LIFETIME = 300  # seconds; a daemon that cares ends it long before


def install(folder):
    for sickness in SICKNESSES:
        path = os.path.join(folder, "containerd-shim-%s-v1" % sickness)
        with open(path, "w") as out:
            out.write('#!/bin/sh\nexec %s %s %s "$@"\n' % (sys.executable, os.path.abspath(__file__), sickness))
        os.chmod(path, 0o755)


def serve(listener, sickness):
    if sickness == "deaf":
        time.sleep(LIFETIME)  # the kernel accepts
    connection, _ = listener.accept()
    if sickness == "garbage":
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
        time.sleep(LIFETIME)
    started = False
    while True:
        size, stream, _, _ = struct.unpack(">IIBB", exactly(connection, 10))
        method = dict(read_fields(exactly(connection, size)))[2].decode()
        if method.lower() == sickness:
            os._exit(1)
        if started:
            time.sleep(LIFETIME)
        if method == "Wait":
            continue
        payload = b""
        if method in ("Create", "Start"):
            payload = field(1, os.getpid())
            started = sickness == "frozen" and method == "Start"
        elif method == "State":
            payload = field(1, b"x") + field(3, os.getpid()) + field(4, 1)
        body = field(2, payload)
        connection.sendall(struct.pack(">IIBB", len(body), stream, RESPONSE, 0) + body)


def main():
    if sys.argv[1] == "install":
        return install(sys.argv[2])
    sickness, action = sys.argv[1], sys.argv[-1]
    if action != "start":
        return None  # a `delete` that says nothing: an empty DeleteResponse
    address = os.path.join(os.getcwd(), "shim.sock")
    if sickness == "nowhere":
        print("unix://" + address)
        return None
    listener = socket.socket(socket.AF_UNIX)
    # The bundle's path may be longer than an address.
    listener.bind("shim.sock")
    listener.listen(16)
    if sickness != "dead" and os.fork() == 0:
        os.setsid()
        for fd in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        serve(listener, sickness)
        os._exit(0)
    print("unix://" + address)
    return None


if __name__ == "__main__":
    sys.exit(main())
