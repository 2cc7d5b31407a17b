"""What happened: events, records of sessions, receipts."""

from porch import NOBODY, Case
from porchlight.v1 import event_pb2, record_pb2, session_pb2


class Events(Case):
    def session(self, name):
        """A session from the question to the end; its ID."""
        session, _, _, publisher, viewer = self.server.engage(name)
        publisher.send({"type": "end"})
        self.assertEqual(viewer.expect("ended")["reason"], "guest_ended")
        return session

    def test_events_are_streamed_and_resumed(self):
        stream = self.key.StreamEvents(fromNow=True)
        opened = next(stream)
        self.assertTrue(opened.recovered and not opened.HasField("event"))
        session = self.session("E-1")
        events = []
        for told in stream:
            if told.event.session_id:
                events.append(told.event)
            if told.event.kind == event_pb2.EVENT_KIND_RECORD_LOGGED:
                break
        stream.cancel()
        self.assertEqual({event.session_id for event in events}, {session})
        first = events[0].sequence
        self.assertGreater(first, opened.sequence)
        self.assertEqual([event.sequence for event in events], list(range(first, first + len(events))))
        again = self.key.StreamEvents(afterId=events[2].id, kinds=["EVENT_KIND_SESSION_ENDED"])
        self.assertTrue(next(again).recovered)
        self.assertEqual(next(again).event, next(e for e in events if e.kind == event_pb2.EVENT_KIND_SESSION_ENDED))
        again.cancel()
        lost = self.key.StreamEvents(afterId=NOBODY)
        self.assertFalse(next(lost).recovered)
        lost.cancel()
        timeline = self.key.ListSessionEvents(sessionId=session)
        self.assertEqual((list(timeline.events), timeline.more), (events, False))
        self.bad(["after_id"], self.key.StreamEvents, afterId="no id")
        self.bad(["kinds"], self.key.StreamEvents, kinds=[0])
        self.bad(["session_id"], self.key.ListSessionEvents, sessionId="no id")
        self.refused("NOT_FOUND", "NOT_FOUND", self.key.StreamEvents, group="nowhere")

    def test_records_are_listed_and_counted(self):
        stream = self.key.StreamEvents(fromNow=True, kinds=["EVENT_KIND_RECORD_LOGGED"])
        next(stream)
        sessions = [self.session(name) for name in ("R-1", "R-2", "R-1")]
        for _ in sessions:
            next(stream)
        stream.cancel()
        listed, pages = self.pages(self.key.ListSessionRecords, "records", 1, visitorId="R-1")
        self.assertEqual([record.session_id for record in listed], [sessions[2], sessions[0]])
        self.assertEqual(pages, 2)
        self.assertEqual(listed[0].state, session_pb2.SESSION_STATE_ENDED)
        self.assertEqual(listed[0].outcome, record_pb2.REQUEST_OUTCOME_ACCEPTED)
        self.assertEqual(self.key.GetSessionRecord(sessionId=sessions[2]).record, listed[0])
        self.assertEqual(len(self.key.ListSessionRecords(outcome="REQUEST_OUTCOME_DECLINED").records), 0)
        stats = self.key.ListSessionStats().stats
        self.assertGreaterEqual(sum(day.sessions for day in stats if day.agent_id == "alice"), 3)
        self.bad(["record.id"], self.key.ListSessionRecords, record={"object": "Case"})
        self.bad(["page_token"], self.key.ListSessionRecords, pageToken="x")
        self.bad(["until"], self.key.ListSessionStats, **{"from": "1970-01-01T00:00:00Z"})
        self.refused("NOT_FOUND", "NOT_FOUND", self.key.GetSessionRecord, sessionId=NOBODY)

    def test_receipts_are_exported(self):
        session = self.session("P-1")
        lines = [told.line for told in self.key.ExportConsentReceipts()]
        self.assertTrue(lines[-1].startswith('{"head":'))
        mine = next(line for line in lines if session in line)
        stream = self.key.StreamEvents(kinds=["EVENT_KIND_REQUEST_ACCEPTED"])
        accepted = stream.until(lambda told: told.event.session_id == session).event.accepted
        stream.cancel()
        receipt = self.key.GetConsentReceipt(receiptId=accepted.receipt_id).receipt
        self.assertEqual((receipt.line, receipt.number), (mine, accepted.receipt_number))
        key = self.key.GetReceiptKey().key
        self.assertEqual((key.group, key.algorithm), ("demo", "Ed25519"))
        self.assertIn(f'"key":"{key.key_id}"', mine)
        self.refused("NOT_FOUND", "NOT_FOUND", self.key.GetConsentReceipt, receiptId=NOBODY)
        for call in [self.key.ExportConsentReceipts, self.key.GetReceiptKey]:
            self.refused("NOT_FOUND", "NOT_FOUND", call, group="nowhere")
