#!/bin/bash
#
# Print how many pages of a guest are used within a second, or SECONDS
#
# usage: harvest.sh SOCKET START END [SECONDS]
#
# START and END are guest-physical addresses. Needs socat, or nc of OpenBSD.
#
# SPDX-License-Identifier: GPL-2.0-or-later

set -euo pipefail

die() {
    printf 'harvest.sh: %s\n' "$*" >&2
    exit 1
}

# The connection stays open until the last answer was read: QEMU drops what it
# has not answered yet when its client stops sending.
connect() {
    if command -v socat >/dev/null; then
        exec socat - "UNIX-CONNECT:$1"
    fi
    exec nc -U "$1"
}

# ask COMMAND: carries it out and leaves the answer in $answer; events that come
# first, and the greeting, are passed over.
answer=
ask() {
    printf '%s\n' "$1" >&4
    while read -r answer <&3; do
        case $answer in
        '{"return"'*) return ;;
        '{"error"'*) die "$answer" ;;
        esac
    done
    die "QEMU has gone"
}

[ $# = 3 ] || [ $# = 4 ] || die "usage: harvest.sh SOCKET START END [SECONDS]"
[ -S "$1" ] || die "$1 is no socket"
command -v socat >/dev/null || command -v nc >/dev/null ||
    die "neither socat nor nc is installed: apt-get install socat"

harvest='{ "execute": "age-test-clear-young", "arguments": { "ranges": [
    { "start": '$(($2))', "end": '$(($3))' } ],
    "flush": "request", "format": "count" } }'

coproc qmp { connect "$1"; }
exec 3<&"${qmp[0]}" 4>&"${qmp[1]}"
ask '{ "execute": "qmp_capabilities" }'
ask "$harvest"
sleep "${4:-1}"
ask "$harvest"
pages=${answer##*'"young-pages": '}
echo "${pages%%[!0-9]*} pages of 4 KiB"
