"""Reads what happens in a group from the Redis of the server: each event at least once, shared among as many of these as run.

    pip install redis protobuf grpcio-tools
    python -m grpc_tools.protoc -I proto --python_out=. proto/porchlight/v1/*.proto
    python consumer.py redis://127.0.0.1:6379 acme crm worker-1

The words behind the address: the group, a name for all that share the work, and a name for this one, the same after a
restart. Writes each event as a line of JSON. Whoever acts on events remembers their ids: after a crash the last ones come again.
"""

import sys

import redis
from google.protobuf import json_format
from porchlight.v1 import event_pb2

# What another one took and did not finish for so long is taken over.
GIVEN_UP_MS = 60_000
# How long to wait for more before looking for what others left.
WAIT_MS = 5_000


def handle(event):
    """Yours. When it raises, the event comes again."""
    print(json_format.MessageToJson(event, indent=None), flush=True)


def main(url, group, workers, me):
    server = redis.Redis.from_url(url, protocol=2, socket_timeout=None)
    stream = f"pl:{{{group}}}:events"
    join(server, stream, workers)

    def deal(entries):
        for id, fields in entries:
            # Without fields it was trimmed before anybody got to it.
            if fields:
                handle(event_pb2.SessionEvent.FromString(fields[b"e"]))
            server.xack(stream, workers, id)

    # First what this one took before it was stopped.
    while left := read(server, stream, workers, me, "0"):
        deal(left)
    while True:
        _, entries, *_ = server.xautoclaim(stream, workers, me, GIVEN_UP_MS, count=100)
        deal(entries)
        deal(read(server, stream, workers, me, ">", block=WAIT_MS))


def join(server, stream, workers):
    """Makes the consumer group, from the oldest event on. The stream itself is the server's to make."""
    while True:
        try:
            return server.xgroup_create(stream, workers, id="0")
        except redis.ResponseError as error:
            if "BUSYGROUP" in str(error):
                return None
            if "requires the key to exist" not in str(error):
                raise
        # Nothing has happened yet: a read that waits for the first event, and leaves it for the group.
        server.xread({stream: "0"}, count=1, block=WAIT_MS)


def read(server, stream, workers, me, after, **options):
    told = server.xreadgroup(workers, me, {stream: after}, count=100, **options)
    return [entry for _, entries in told or [] for entry in entries]


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
