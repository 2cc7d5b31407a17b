"""Visitors, sessions and nodes: what goes on now."""

from porch import NOBODY, Case
from porchlight.v1 import session_pb2, visitor_pb2

PRESENT = visitor_pb2.PRESENCE_STATE_PRESENT
ABSENT = visitor_pb2.PRESENCE_STATE_ABSENT


class Presence(Case):
    def test_visitors_are_looked_up_and_listed(self):
        page = {"url": "https://shop.example/cart", "title": "Cart"}
        visitor = self.server.visitor("L-1", page=page, data={"plan": "gold", "age": 7, "vip": True})
        here, away = self.key.LookupVisitors(visitorIds=["L-1", "L-0"]).visitors
        self.assertEqual((here.visitor_id, here.state, here.connections), ("L-1", PRESENT, 1))
        self.assertEqual((here.page.title, dict(here.data)), ("Cart", {"plan": "gold", "age": 7.0, "vip": True}))
        self.assertEqual((away.visitor_id, away.state), ("L-0", ABSENT))
        listed = [answer.visitor.visitor_id for answer in self.key.ListVisitors(pageContains="/cart")]
        self.assertEqual(listed, ["L-1"])
        self.assertEqual(list(self.key.ListVisitors(pageContains="/nowhere")), [])
        self.refused("INVALID_ARGUMENT", "BAD_FIELD", self.key.LookupVisitors, visitorIds=["a b"])
        self.refused("INVALID_ARGUMENT", "BAD_FIELD", self.key.LookupVisitors, visitorIds=["x"] * 1001)
        self.refused("NOT_FOUND", "NOT_FOUND", self.key.ListVisitors, group="nowhere")
        visitor.close()

    def test_presence_is_watched(self):
        stream = self.key.WatchPresence(visitorIds=["W-1"])
        self.assertEqual(next(stream).visitor.state, ABSENT)
        visitor = self.server.visitor("W-1")
        came = stream.until(lambda told: told.visitor.state == PRESENT)
        visitor.send({"type": "leave"})
        left = stream.until(lambda told: told.visitor.state == ABSENT)
        self.assertGreater(left.visitor.version, came.visitor.version)
        stream.cancel()
        every = self.key.WatchPresence()
        other = self.server.visitor("W-2")
        every.until(lambda told: told.visitor.visitor_id == "W-2" and told.visitor.state == PRESENT)
        every.cancel()
        other.close()
        self.refused("INVALID_ARGUMENT", "BAD_FIELD", self.key.WatchPresence, visitorIds=["a b"])
        self.refused("NOT_FOUND", "NOT_FOUND", self.key.WatchPresence, group="nowhere")

    def test_a_page_is_signalled(self):
        visitor = self.server.visitor("S-1")
        answer = self.key.SignalVisitor(visitorId="S-1", name="hello", data={"a": [1, "b", None]})
        self.assertEqual(answer.delivery, visitor_pb2.SIGNAL_DELIVERY_DELIVERED)
        heard = visitor.expect("signal")
        self.assertEqual((heard["name"], heard["data"]), ("hello", {"a": [1, "b", None]}))
        refused = self.refused(
            "FAILED_PRECONDITION", "VISITOR_NOT_PRESENT", self.key.SignalVisitor, visitorId="S-0", name="hello"
        )
        self.assertTrue(refused.message)
        self.bad(["visitor_id"], self.key.SignalVisitor, visitorId="a b", name="hello")
        self.bad(["name"], self.key.SignalVisitor, visitorId="S-1", name="")
        visitor.close()

    def test_a_visitor_is_disconnected(self):
        visitors = [self.server.visitor("D-1"), self.server.visitor("D-1")]
        self.assertEqual(self.key.DisconnectVisitor(visitorId="D-1").connections, 2)
        for visitor in visitors:
            self.assertGreaterEqual(visitor.expect_close(), 4400, "a code after which no page comes back")
        self.assertEqual(self.key.DisconnectVisitor(visitorId="D-1").connections, 0)
        self.bad(["visitor_id"], self.key.DisconnectVisitor, visitorId="a b")


class Sessions(Case):
    def test_a_session_is_told_watched_and_ended(self):
        stream = self.key.WatchSessions(visitorId="V-1")
        session, visitor, agent, publisher, viewer = self.server.engage("V-1")
        active = stream.until(lambda told: told.session.state == session_pb2.SESSION_STATE_ACTIVE)
        self.assertEqual((active.session.session_id, active.session.visitor_id), (session, "V-1"))
        told = self.key.GetSession(sessionId=session).session
        self.assertEqual(told.kind, session_pb2.SESSION_KIND_SCREEN)
        self.assertEqual(sorted(one.agent_id for one in told.participants), ["", "alice"])
        self.assertTrue(all(one.connected for one in told.participants))
        self.assertEqual([one.session_id for one in self.key.ListSessions().sessions], [session])
        self.assertEqual(list(self.key.ListSessions(visitorId="V-0").sessions), [])
        self.assertTrue(self.key.EndSession(sessionId=session).ended_now)
        ended = stream.until(lambda told: told.session.state == session_pb2.SESSION_STATE_ENDED)
        self.assertEqual(ended.session.session_id, session)
        stream.cancel()
        for participant in [publisher, viewer]:
            self.assertEqual(participant.expect("ended")["reason"], "operator_ended")
        self.assertFalse(self.key.EndSession(sessionId=session).ended_now, "ending it again changes nothing")
        self.assertEqual(list(self.key.ListSessions().sessions), [])

    def test_refusals(self):
        for call in [self.key.GetSession, self.key.EndSession]:
            self.refused("NOT_FOUND", "NOT_FOUND", call, sessionId=NOBODY)
            self.bad(["session_id"], call, sessionId="no session")
        for call in [self.key.ListSessions, self.key.WatchSessions]:
            self.bad(["visitor_id"], call, visitorId="a b")
            self.refused("NOT_FOUND", "NOT_FOUND", call, group="nowhere")


class Nodes(Case):
    def test_a_node_tells_of_itself_and_drains(self):
        visitor = self.server.visitor("N-1")
        node = self.operator.GetNode().node
        self.assertEqual((node.visitors_present, node.connections.visitor, node.draining), (1, 1, False))
        self.assertEqual([one.node_id for one in self.operator.ListNodes().nodes], [node.node_id])
        for call in [self.key.GetNode, self.key.ListNodes, self.key.SetLogFilter, self.key.Drain]:
            self.refused("PERMISSION_DENIED", "FORBIDDEN", call)
        held = self.operator.SetLogFilter(filter="warn", seconds=600)
        self.assertEqual((held.filter, held.configured), ("warn", self.operator.SetLogFilter().filter))
        self.bad(["filter"], self.operator.SetLogFilter, filter="porchlight=loud")
        self.bad(["seconds"], self.operator.SetLogFilter, filter="warn", seconds=86401)
        self.assertTrue(self.operator.Drain(requestId="d1").node.draining)
        self.assertEqual(visitor.expect("reconnect")["reason"], "drain")
        self.assertEqual(visitor.expect_close(), 4000)
        self.assertEqual(self.server.process.wait(30), 0)
