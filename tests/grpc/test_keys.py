"""API keys, and calls that are made once."""

from porch import Caller, Case


class Keys(Case):
    def test_a_key_works_until_it_is_revoked(self):
        answer = self.key.CreateApiKey(label="shop")
        made, secret = answer.api_key, self.server.secret(answer.secret)
        self.assertEqual((made.label, made.HasField("revoked_at")), ("shop", False))
        fresh = Caller(self.server, f"{made.key_id}.{secret}")
        self.assertTrue(fresh.GetSettings().version)
        listed = self.key.ListApiKeys()
        self.assertNotIn(secret, str(listed))
        ids = [key.key_id for key in listed.api_keys]
        self.assertEqual(ids[-1], made.key_id, "oldest first")
        self.assertTrue(listed.api_keys[-1].HasField("last_used_at"))

        revoked = self.key.RevokeApiKey(keyId=made.key_id).api_key
        self.assertTrue(revoked.HasField("revoked_at"))
        self.refused("UNAUTHENTICATED", "UNAUTHORIZED", fresh.GetSettings)
        again = self.key.RevokeApiKey(keyId=made.key_id).api_key
        self.assertEqual(again.revoked_at, revoked.revoked_at, "revoking it again changes nothing")
        self.assertIn(made.key_id, [key.key_id for key in self.key.ListApiKeys().api_keys])

    def test_refusals(self):
        self.bad(["label"], self.key.CreateApiKey, label="x" * 2000)
        self.operator.CreateGroup(group="other")
        foreign = self.operator.CreateApiKey(group="other")
        self.server.secret(foreign.secret)
        faces = []
        for name in [foreign.api_key.key_id, "k0"]:
            faces.append(str(self.refused("NOT_FOUND", "NOT_FOUND", self.key.RevokeApiKey, keyId=name)))
        self.assertEqual(faces[0], faces[1])
        self.refused("NOT_FOUND", "NOT_FOUND", self.operator.ListApiKeys, group="nowhere")


class Once(Case):
    def test_the_same_call_is_made_once_and_answered_alike(self):
        first = self.key.CreateApiKey(label="once", requestId="r1")
        self.server.secret(first.secret)
        self.assertEqual(self.key.CreateApiKey(label="once", requestId="r1"), first)
        labels = [key.label for key in self.key.ListApiKeys().api_keys]
        self.assertEqual(labels.count("once"), 1)
        other = self.operator.CreateApiKey(group="demo", label="once", requestId="r1")
        self.assertNotEqual(other.api_key.key_id, first.api_key.key_id, "another caller's IDs are its own")
        self.server.secret(other.secret)

    def test_another_call_with_that_id_is_refused(self):
        self.key.CreateApiKey(label="one", requestId="r2")
        self.refused("ALREADY_EXISTS", "REQUEST_ID_REUSED", self.key.CreateApiKey, label="two", requestId="r2")
        bob = {"agentId": "bob", "permissions": {"user": True}}
        self.refused("ALREADY_EXISTS", "REQUEST_ID_REUSED", self.key.SetPermissions, requestId="r2", **bob)

    def test_without_an_id_a_call_is_made_each_time(self):
        first, second = self.key.CreateApiKey(label="each"), self.key.CreateApiKey(label="each")
        self.assertNotEqual(first.api_key.key_id, second.api_key.key_id)

    def test_ids_are_bounded(self):
        self.key.CreateApiKey(requestId="r" * 64)
        self.bad(["request_id"], self.key.CreateApiKey, requestId="r" * 65)

    def test_a_change_of_settings_is_not_made_again(self):
        version = self.key.GetSettings().version
        change = {"settings": {"graceSeconds": 9}, "updateMask": "graceSeconds", "requestId": "r3"}
        first = self.key.UpdateSettings(expectedVersion=str(version), **change)
        again = self.key.UpdateSettings(expectedVersion=str(version), **change)
        self.assertEqual(first, again, "though the version has moved on")
