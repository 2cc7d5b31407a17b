"""The last test: no call of the service was left out."""

import unittest

from porch import ANSWERED, REFUSED, SERVICE


class All(unittest.TestCase):
    def test_every_call_was_answered_and_refused(self):
        calls = {method.name for method in SERVICE.methods}
        self.assertEqual(ANSWERED, calls, f"never answered: {calls - ANSWERED}")
        self.assertEqual(REFUSED, calls, f"never refused: {calls - REFUSED}")
