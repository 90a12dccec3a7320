#!/usr/bin/python3
"""Runs in the guest, as a unit of systemd: takes commands from the host through a virtio-serial port and tells what comes of them.

One line of JSON each way. From the host: {"id", "command": [...], "environment": {...}, "directory", "input"} or {"id", "kill": true}. To it:
{"ready": true} once, {"id", "out": "text"} as soon as the program has written a line, {"id", "code"} at its end.
"""
import json
import os
import signal
import subprocess
import sys
import threading
import time

PORT = "berth.agent"


def find_port():
    """The device of the port; udev may not be there yet."""
    folder = "/sys/class/virtio-ports"
    for _ in range(600):
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name, "name")) as file:
                if file.read().strip() == PORT and os.path.exists("/dev/" + name):
                    return "/dev/" + name
        time.sleep(0.1)
    sys.exit("no virtio-serial port " + PORT)


class Agent:
    def __init__(self, port):
        self.port = os.open(port, os.O_RDWR)
        self.lock = threading.Lock()
        self.running = {}

    def say(self, message):
        data = (json.dumps(message) + "\n").encode()
        with self.lock:
            while data:
                data = data[os.write(self.port, data):]

    def run(self, request):
        number = request["id"]
        try:
            process = subprocess.Popen(request["command"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                       errors="replace", env=dict(os.environ, **request.get("environment", {})),
                                       cwd=request.get("directory") or "/root", start_new_session=True)
        except OSError as error:
            self.say({"id": number, "out": "%s\n" % error})
            self.say({"id": number, "code": 127})
            return
        self.running[number] = process
        threading.Thread(target=self.feed, args=(process, request.get("input", "")), daemon=True).start()
        for line in process.stdout:
            self.say({"id": number, "out": line})
        code = process.wait()
        self.running.pop(number)
        self.say({"id": number, "code": code})

    @staticmethod
    def feed(process, text):
        try:
            process.stdin.write(text)
            process.stdin.close()
        except OSError:
            pass

    def serve(self):
        self.say({"ready": True})
        pending = b""
        while True:
            data = os.read(self.port, 65536)
            if not data:  # nobody at the other end
                time.sleep(0.2)
                continue
            pending += data
            *lines, pending = pending.split(b"\n")
            for line in lines:
                request = json.loads(line)
                if request.get("kill"):
                    process = self.running.get(request["id"])
                    if process is not None:
                        os.killpg(process.pid, signal.SIGKILL)
                else:
                    threading.Thread(target=self.run, args=(request,), daemon=True).start()


if __name__ == "__main__":
    Agent(find_port()).serve()
