"""Groups, their settings, and the history of these."""

from google.protobuf import json_format
from porch import Caller, Case
from porchlight.v1 import settings_pb2


class Groups(Case):
    def test_a_group_is_made_once_by_operators(self):
        made = self.operator.CreateGroup(group="acme").group
        self.assertEqual((made.group, made.settings_version, made.presence_enabled), ("acme", 1, False))
        self.assertTrue(made.HasField("created_at"))
        self.refused("ALREADY_EXISTS", "ALREADY_EXISTS", self.operator.CreateGroup, group="acme")
        self.refused("PERMISSION_DENIED", "FORBIDDEN", self.key.CreateGroup, group="acme2")
        for name in ["", "a b", "x" * 200, "a/b", "ä"]:
            self.bad(["group"], self.operator.CreateGroup, group=name)

    def test_groups_come_in_pages_by_name(self):
        for name in ["p1", "p2", "p3", "p4", "p5"]:
            self.operator.CreateGroup(group=name)
        items, pages = self.pages(self.operator.ListGroups, "groups", 2)
        names = [item.group for item in items]
        self.assertEqual(names, sorted(set(names)))
        self.assertGreaterEqual(set(names), {"demo", "p1", "p2", "p3", "p4", "p5"})
        self.assertGreater(pages, 2)
        self.assertEqual([one.group for one in self.key.ListGroups().groups], ["demo"])
        self.bad(["page_token"], self.operator.ListGroups, pageToken="not one of ours")

    def test_a_group_is_named_by_operators_and_known_of_the_others(self):
        self.bad(["group"], self.operator.GetSettings)
        self.assertEqual(self.key.GetSettings(), self.operator.GetSettings(group="demo"))
        admin = Caller(self.server, self.server.sign_in("alice"))
        self.assertEqual(admin.GetSettings(), self.key.GetSettings())
        unknown = self.refused("NOT_FOUND", "NOT_FOUND", self.key.GetSettings, group="nowhere")
        foreign = self.refused("NOT_FOUND", "NOT_FOUND", self.key.GetSettings, group="acme")
        self.assertEqual(str(unknown), str(foreign))


class Settings(Case):
    # Each setting with a value that differs from its default.
    VALUES = {
        "defaultAdmin": "alice",
        "createLeads": "CREATE_LEADS_NEW_EMAIL_AND_NAME",
        "logSessionsOutsideCrm": True,
        "openSessionRecords": True,
        "syncFrequency": "SYNC_FREQUENCY_DAILY",
        "chatterOnStart": True,
        "sso": {"enabled": True, "partnerUserIdField": "Id", "apiKeyId": "", "loginExpirationSeconds": 600},
        "presenceEnabled": True,
        "terms": {"version": "v9", "text": "Words", "url": "https://example.com/t", "deadlineSeconds": 30},
        "showTerms": True,
        "joinStarts": "SESSION_KIND_SCREEN",
        "visitorIdentity": "VISITOR_IDENTITY_OPEN",
        "visitorOrigins": ["https://shop.example"],
        "agentOrigins": ["https://crm.example"],
        "loopbackOrigins": True,
        "graceSeconds": 7,
        "sessionKeyDigits": 8,
        "objects": [
            {
                "object": "Case",
                "show": False,
                "join": True,
                "view": False,
                "visitorIdObject": "Contact",
                "visitorIdField": "Visitor__c",
                "autoJoin": True,
            }
        ],
        "profiles": [
            {
                "name": "Support",
                "show": True,
                "view": False,
                "join": True,
                "joinIn": "JOIN_IN_CLIENT",
                "startAgentVideo": True,
            }
        ],
        "permissionSet": {"user": ["alice"], "admin": ["alice"], "agentVideo": ["alice"]},
    }

    def group(self, name):
        self.operator.CreateGroup(group=name)
        agent = {"agentId": "alice", "address": "alice", "name": "Alice"}
        self.operator.UpsertAgent(group=name, agent=agent)
        return name

    def update(self, group, settings, mask, version, **more):
        return self.operator.UpdateSettings(
            group=group, settings=settings, updateMask=mask, expectedVersion=str(version), **more
        )

    def plain(self, settings):
        return json_format.MessageToDict(settings, always_print_fields_with_no_presence=True)

    def test_every_setting_is_changed_alone_and_read_back(self):
        described = {field.json_name for field in settings_pb2.Settings.DESCRIPTOR.fields}
        self.assertEqual(set(self.VALUES), described, "each setting has a value here")
        group = self.group("each")
        before = self.operator.GetSettings(group=group)
        version, expected = before.version, self.plain(before.settings)
        for name, value in self.VALUES.items():
            answer = self.update(group, {name: value}, name, version)
            expected[name] = value
            self.assertEqual(self.plain(answer.settings), expected, name)
            self.assertIn(answer.version, [version, version + 1])
            version = answer.version
            self.assertEqual(self.operator.GetSettings(group=group).settings, answer.settings)

    def test_masks(self):
        group = self.group("masks")
        answer = self.update(group, {"terms": {"text": "T", "version": "no"}}, "terms.text", 1)
        self.assertEqual((answer.settings.terms.text, answer.settings.terms.version), ("T", ""))
        everything = self.update(group, self.VALUES, "*", answer.version)
        self.assertEqual(self.plain(everything.settings), self.VALUES)
        same = self.update(group, self.VALUES, "*", everything.version)
        self.assertEqual(same.version, everything.version, "nothing differed")
        for mask in ["", "nothing", "terms.nothing", "presenceEnabled,nothing"]:
            refused = self.refused(
                "INVALID_ARGUMENT", "BAD_FIELD", self.update, group, self.VALUES, mask, same.version
            )
            self.assertTrue(all(field.startswith("update_mask") for field in refused.fields), refused)

    def test_who_read_an_older_version_is_told(self):
        group = self.group("conflict")
        self.update(group, {"graceSeconds": 6}, "graceSeconds", 1)
        for stale in [0, 1, 7]:
            refused = self.refused(
                "ABORTED", "CONFLICT", self.update, group, {"graceSeconds": 9}, "graceSeconds", stale
            )
            self.assertEqual(refused.metadata["version"], "2")
        self.assertEqual(self.operator.GetSettings(group=group).settings.grace_seconds, 6)

    def test_all_bad_values_are_told_at_once_by_their_paths(self):
        group = self.group("bad")
        profile = self.VALUES["profiles"][0]
        settings = {
            "graceSeconds": 61,
            "terms": {"deadlineSeconds": 0, "url": "ftp://example.com"},
            "profiles": [profile, profile],
            "visitorOrigins": ["https://shop.example/path"],
            "sso": {"loginExpirationSeconds": 1},
        }
        mask = "graceSeconds,terms.deadlineSeconds,terms.url,profiles,visitorOrigins,sso.loginExpirationSeconds"
        refused = self.refused("INVALID_ARGUMENT", "BAD_FIELD", self.update, group, settings, mask, 1)
        paths = " ".join(refused.fields)
        for path in [
            "settings.grace_seconds",
            "settings.terms.deadline_seconds",
            "settings.terms.url",
            "settings.profiles[1]",
            "settings.visitor_origins[0]",
            "settings.sso.login_expiration_seconds",
        ]:
            self.assertIn(path, paths)
        self.assertEqual(self.operator.GetSettings(group=group).version, 1, "nothing was changed")

    def test_the_history_is_whole(self):
        group = self.group("history")
        version = self.operator.GetSettings(group=group).version
        for seconds in [1, 2, 3, 4]:
            version = self.update(group, {"graceSeconds": seconds}, "graceSeconds", version).version
        items, pages = self.pages(self.operator.ListSettingsChanges, "changes", 2, group=group)
        self.assertGreater(pages, 1)
        self.assertEqual([item.version for item in items], list(range(version, 0, -1)))
        for newer, older in zip(items, items[1:]):
            self.assertEqual(newer.before, older.after)
        self.assertFalse(items[-1].HasField("before"))
        self.assertEqual(items[0].after, self.operator.GetSettings(group=group).settings)
        self.assertTrue(all(item.changed_by == "operator" and item.HasField("changed_at") for item in items))
        self.bad(["page_token"], self.operator.ListSettingsChanges, group=group, pageToken="junk")
        self.refused("NOT_FOUND", "NOT_FOUND", self.operator.ListSettingsChanges, group="nowhere")
