# SPDX-License-Identifier: GPL-2.0-or-later
"""
Offer the figures of guests to Prometheus, at http://ADDR:PORT/metrics.

Guests are harvested at the interval, however often they are asked for.  They
may come and go: a socket is tried again and again, and a folder is watched for
sockets.  Each needs a -qmp of its own that nobody else uses.  Without --history
nobody else may take its accessed bits either: it is told if somebody does.

docs/system/age-export.rst has the metrics, and queries to begin with.
"""

import argparse
import socket
import socketserver
import sys
from threading import Thread
from wsgiref.simple_server import (
    WSGIRequestHandler, WSGIServer, make_server)

from prometheus_client import CollectorRegistry, make_wsgi_app

from . import metrics
from .errors import UserError, say
from .fleet import Fleet
from .live import Guest
from .options import add_harvest_options, add_sockets, source_maker
from .stop import Stop

# How often it is looked who has come, in seconds
REFRESH_S = 1


def address(text):
    """(host, port), from ADDR:PORT, [ADDR]:PORT or PORT."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address: 127.0.0.1:9435, [::1]:9435")
    return host.strip("[]") or "127.0.0.1", int(port)


def add_arguments(parser):
    """The arguments of this sub-command."""
    parser.add_argument("--listen", metavar="ADDR:PORT", type=address,
                        default=("127.0.0.1", 9435),
                        help="who can ask (default: 127.0.0.1:9435, this "
                             "host alone)")
    add_harvest_options(parser, 10, "also how much was written",
                        "ask vCPUs to flush their TLBs (request, the "
                        "default), or leave the guest alone (none)")
    add_sockets(parser)


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """Serves each client in a thread, so that a slow one holds up nobody."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        # A client that goes away, or says nothing, is no trouble of ours.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def server_bind(self):
        # The name of the host is of no use here, and asking for it may hang.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]
        self.setup_environ()


class Server6(Server):
    """The same, for IPv6."""

    address_family = socket.AF_INET6


class Quiet(WSGIRequestHandler):
    """Does not tell of every scrape."""

    timeout = 30

    # The name of the argument is the library's.
    # pylint: disable-next=redefined-builtin
    def log_message(self, format, *args):
        """Nothing."""


def serve(listen, collector):
    """A server that answers in a thread of its own."""
    registry = CollectorRegistry()
    registry.register(collector)
    host, port = listen
    try:
        server = make_server(host, port, make_wsgi_app(registry),
                             Server6 if ":" in host else Server, Quiet)
    except OSError as e:
        raise UserError(f"{host}:{port}: {e.strerror}; --listen takes "
                        "another address") from None
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def run(args):
    """Carries it out."""
    def make(path):
        return Guest(path, args.interval, lambda part: part.node,
                     metrics.view, args.dirty, flush=args.flush,
                     make_source=source_maker(args))

    fleet = Fleet(args.socket, make, say)
    server = serve(args.listen, metrics.Collector(fleet, args.dirty))
    host = f"[{args.listen[0]}]" if ":" in args.listen[0] else args.listen[0]
    say(f"listening: http://{host}:{server.server_port}/metrics")
    with Stop() as stop:
        try:
            while not stop.is_set():
                fleet.refresh()
                stop.wait(REFRESH_S)
        finally:
            fleet.close()
        server.shutdown()
    return 0
