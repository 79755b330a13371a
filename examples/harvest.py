#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Print what a guest uses within a second, or SECONDS."""

import json
import socket
import sys
import time


def command(name, **arguments):
    """Carries out a QMP command; events that come first are passed over."""
    stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
    stream.flush()
    for line in stream:
        answer = json.loads(line)
        if "return" in answer:
            return answer["return"]
        if "error" in answer:
            sys.exit(f"harvest.py: {name}: {answer['error']['desc']}")
    sys.exit("harvest.py: QEMU has gone")


if len(sys.argv) not in (2, 3):
    sys.exit("usage: harvest.py SOCKET [SECONDS]")
sock = socket.socket(socket.AF_UNIX)
try:
    sock.connect(sys.argv[1])
except OSError as e:
    sys.exit(f"harvest.py: {sys.argv[1]}: {e.strerror}")
stream = sock.makefile("rw")
stream.readline()    # the greeting
command("qmp_capabilities")

# Without ranges, that is all memory.
command("age-test-clear-young", flush="request", format="count")
time.sleep(float(sys.argv[2]) if len(sys.argv) == 3 else 1)
found = command("age-test-clear-young", format="runs")
for result in found["ranges"]:
    # A range with more runs than an answer may have comes with a bitmap.
    for run in result.get("runs", []):
        print(f"{run['start']:#x}-{run['end']:#x}")
pages = sum(result["young-pages"] for result in found["ranges"])
print(f"{pages} pages of 4 KiB")
