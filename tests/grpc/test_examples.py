"""The consumer of docs/examples/events, with the generated code that its head asks for, at a real Redis that holds the log."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import redis
from porch import PATIENCE, Server

CONSUMER = Path(__file__).resolve().parents[2] / "docs/examples/events/consumer.py"


class Consumer:
    """The program as it is started from its own words; `next` is the next event that it wrote."""

    def __init__(self, url, me):
        # Only the generated code, as its users have it.
        self.process = subprocess.Popen(
            [sys.executable, CONSUMER, url, "demo", "crm", me], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def next(self):
        try:
            return self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            self.kill()
            raise AssertionError(f"the consumer wrote nothing:\n{self.process.stderr.read()}") from None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()


class Events(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "redis.sock")
        process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder.name], stdout=subprocess.DEVNULL
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        end = time.monotonic() + PATIENCE
        while not os.path.exists(path):
            self.assertTrue(process.poll() is None and time.monotonic() < end, "redis-server did not start")
            time.sleep(0.02)
        self.url = f"unix://{path}"
        self.redis = redis.Redis.from_url(self.url)
        self.server = Server(PORCHLIGHT__REDIS__URL=f"redis+unix://{path}")
        self.addCleanup(self.server.stop)

    def post(self, *texts):
        for text in texts:
            self.server.key.PostFeed(record={"object": "Case", "id": "1"}, text=text)

    def consumer(self, me):
        consumer = Consumer(self.url, me)
        self.addCleanup(consumer.process.stdout.close)
        self.addCleanup(consumer.process.stderr.close)
        self.addCleanup(consumer.kill)
        return consumer

    def texts(self, consumer, count):
        events = []
        while len(events) < count:
            event = consumer.next()
            if event["kind"] == "EVENT_KIND_FEED_POSTED":
                events.append(event)
        return [event["post"]["text"] for event in events]

    def pending(self):
        return self.redis.xpending("pl:{demo}:events", "crm")["pending"]

    def settled(self):
        """Nothing is left that was taken and not finished."""
        end = time.monotonic() + PATIENCE
        while self.pending():
            self.assertLess(time.monotonic(), end, "events stay unfinished")
            time.sleep(0.02)

    def test_each_event_comes_and_none_is_lost_over_a_restart(self):
        # Waits for the first event there is, and has that too.
        first = self.consumer("one")
        self.post("a", "b")
        self.assertEqual(self.texts(first, 2), ["a", "b"])
        self.settled()
        first.kill()
        self.post("c", "d")
        # Taken by one that dies before it is done: its next life begins with them.
        self.assertEqual(len(self.redis.xreadgroup("crm", "one", {"pl:{demo}:events": ">"}, count=1)), 1)
        self.assertEqual(self.pending(), 1)
        again = self.consumer("one")
        self.assertEqual(self.texts(again, 2), ["c", "d"])
        self.settled()

    def test_two_share_the_work(self):
        both = [self.consumer("one"), self.consumer("two")]
        names = [f"post {number}" for number in range(40)]
        self.post(*names)
        self.settled_after(names, both)
        heard = []
        for consumer in both:
            consumer.kill()
            heard += [event["post"]["text"] for event in consumer.lines.queue if event["kind"] == "EVENT_KIND_FEED_POSTED"]
        self.assertEqual(sorted(heard), sorted(names), "each came once")

    def settled_after(self, names, consumers):
        end = time.monotonic() + PATIENCE
        while sum(consumer.lines.qsize() for consumer in consumers) < len(names):
            self.assertLess(time.monotonic(), end, "not all events came")
            time.sleep(0.02)
        self.settled()


if __name__ == "__main__":
    unittest.main()
