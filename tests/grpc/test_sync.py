"""The sync and its sinks."""

from porch import Case


class Sync(Case):
    def test_a_sink_is_made_changed_listed_and_removed(self):
        sink = {"sinkId": "crm", "webhook": {"url": "https://127.0.0.1:9/"}, "sessionRecords": True}
        made = self.key.PutSink(sink=sink, requestId="s1")
        secret = self.server.secret(made.secret)
        self.assertTrue(secret.startswith("whsec_"))
        self.assertEqual(self.key.PutSink(sink=sink, requestId="s1").secret, "", "told once")
        self.assertEqual(self.key.PutSink(sink=sink).secret, "")
        other = self.server.secret(self.key.PutSink(sink=sink, rotateSecret=True).secret)
        self.assertNotEqual(other, secret)
        listed = self.key.ListSinks().sinks
        self.assertEqual([state.sink.sink_id for state in listed], ["crm"])
        self.assertNotIn("whsec_", str(listed))
        self.assertIn("not an address", self.key.TestSink(sinkId="crm").error)
        replayed = self.key.ReplayDeadLetters(sinkId="crm")
        self.assertEqual((replayed.delivered, replayed.left, replayed.error), (0, 0, ""))
        self.key.DeleteSink(sinkId="crm")
        self.assertEqual(len(self.key.ListSinks().sinks), 0)

    def test_runs(self):
        first = self.key.SyncNow(requestId="n1").run
        self.assertEqual(self.key.SyncNow(requestId="n1").run, first)
        self.assertTrue(self.key.GetSyncStatus().HasField("next_run_at"))
        runs, _ = self.pages(self.key.ListSyncRuns, "runs", 1)
        self.assertIn(first.run_id, [run.run_id for run in runs])
        self.key.UpdateSettings(
            settings={"syncFrequency": "SYNC_FREQUENCY_NEVER"},
            updateMask="syncFrequency",
            expectedVersion=self.key.GetSettings().version,
        )
        self.assertFalse(self.key.GetSyncStatus().HasField("next_run_at"))

    def test_refusals(self):
        webhook = {"url": "https://example.com/"}
        self.bad(["sink"], self.key.PutSink)
        self.bad(["sink.sink_id"], self.key.PutSink, sink={"sinkId": "a b", "webhook": webhook})
        self.bad(["sink"], self.key.PutSink, sink={"sinkId": "a", "webhook": webhook})
        bad = {"sinkId": "a", "webhook": {"url": "ftp://example.com/"}, "everyEvent": True}
        self.bad(["sink.webhook.url"], self.key.PutSink, sink=bad)
        self.bad(["sink.file"], self.key.PutSink, sink={"sinkId": "a", "file": {}, "everyEvent": True})
        self.bad(["sink.redis"], self.key.PutSink, sink={"sinkId": "a", "redis": {}, "everyEvent": True})
        org = {"loginUrl": "https://login.example", "clientId": "app", "username": "user"}
        sink = {"sinkId": "a", "salesforce": org, "sessionRecords": True}
        self.bad(["sink.salesforce"], self.key.PutSink, sink=sink)
        for call in [self.key.DeleteSink, self.key.TestSink, self.key.ReplayDeadLetters]:
            self.refused("NOT_FOUND", "NOT_FOUND", call, sinkId="none")
        for call in [self.operator.SyncNow, self.operator.ListSyncRuns, self.operator.GetSyncStatus]:
            self.refused("NOT_FOUND", "NOT_FOUND", call, group="nowhere")
        self.refused("NOT_FOUND", "NOT_FOUND", self.operator.ListSinks, group="nowhere")
