"""Agents, their permissions and their credentials."""

from porch import Caller, Case

PASSWORD = "correct horse battery staple"


class Agents(Case):
    def make(self, name, **more):
        agent = {"agentId": name, "address": f"{name}@example.com", "name": name.title(), **more}
        return agent, self.key.UpsertAgent(agent=agent).agent

    def test_agents_are_made_changed_listed_and_removed(self):
        agent, made = self.make("carol", partnerUserId="005", profile="Support", subscription="Pro")
        for field in ["agent_id", "address", "name", "partner_user_id", "profile", "subscription"]:
            self.assertTrue(getattr(made, field), field)
        self.assertFalse(made.has_password or made.permissions.user)
        changed = self.key.UpsertAgent(agent={**agent, "name": "Caroline", "address": "CAROL@example.com"}).agent
        self.assertEqual((changed.name, changed.address), ("Caroline", "carol@example.com"))
        self.assertEqual(changed.created_at, made.created_at)
        self.assertFalse(changed.fixed_session_key)
        fixed = self.key.UpsertAgent(agent={**agent, "fixedSessionKey": True}).agent
        self.assertTrue(fixed.fixed_session_key)
        self.make("dan")
        items, pages = self.pages(self.key.ListAgents, "agents", 2)
        names = [item.agent_id for item in items]
        self.assertEqual(names, sorted(names))
        self.assertGreaterEqual(set(names), {"alice", "bob", "carol", "dan"})
        self.assertGreater(pages, 1)
        self.bad(["page_token"], self.key.ListAgents, pageToken="junk")
        self.key.DeleteAgent(agentId="dan")
        self.assertNotIn("dan", [one.agent_id for one in self.key.ListAgents().agents])
        self.refused("NOT_FOUND", "NOT_FOUND", self.key.DeleteAgent, agentId="dan")

    def test_bad_agents(self):
        self.bad(["agent"], self.key.UpsertAgent)
        for field, value in [("agentId", "a b"), ("address", "a b"), ("name", "\n")]:
            agent = {"agentId": "zoe", "address": "zoe", "name": "Zoe", field: value}
            self.bad([f"agent.{'agent_id' if field == 'agentId' else field}"], self.key.UpsertAgent, agent=agent)
        self.make("erin", partnerUserId="006")
        for clash in [{"address": "erin@example.com"}, {"address": "x@example.com", "partnerUserId": "006"}]:
            agent = {"agentId": "frank", "name": "Frank", **clash}
            self.refused("ALREADY_EXISTS", "ALREADY_EXISTS", self.key.UpsertAgent, agent=agent)
        agent = {"agentId": "gina", "address": "gina", "name": "Gina"}
        self.bad(["password"], self.key.UpsertAgent, agent=agent, password="short")
        self.assertNotIn("gina", [one.agent_id for one in self.key.ListAgents().agents], "nothing by half")

    def test_permissions(self):
        self.make("henry")
        set_to = {"user": True, "admin": True}
        answer = self.key.SetPermissions(agentId="henry", permissions=set_to).agent
        self.assertEqual(
            (answer.permissions.user, answer.permissions.admin, answer.permissions.agent_video), (True, True, False)
        )
        self.assertIn("henry", self.key.GetSettings().settings.permission_set.admin)
        answer = self.key.SetPermissions(agentId="henry", permissions={"agentVideo": True}).agent
        self.assertEqual((answer.permissions.user, answer.permissions.agent_video), (False, True))
        self.refused("NOT_FOUND", "NOT_FOUND", self.key.SetPermissions, agentId="nobody", permissions=set_to)

    def test_passwords(self):
        agent, _ = self.make("ida")
        self.server.secret(PASSWORD)
        self.assertEqual(self.server.sign_in("ida@example.com", PASSWORD), 401)
        self.assertTrue(self.key.UpsertAgent(agent=agent, password=PASSWORD).agent.has_password)
        self.assertIsInstance(self.server.sign_in("ida@example.com", PASSWORD), str)
        users = self.key.ListAssociatedUsers(pageSize=100)
        self.assertIn("ida", [user.agent_id for user in users.agents])
        self.make("jack")
        self.assertNotIn("jack", [user.agent_id for user in self.key.ListAssociatedUsers().agents])
        self.bad(["page_token"], self.key.ListAssociatedUsers, pageToken="junk")
        socket = self.server.agent("ida@example.com", password=PASSWORD)
        self.assertFalse(self.key.RemoveAssociation(agentId="ida").agent.has_password)
        self.assertEqual(socket.expect_close(), 4401)
        self.assertEqual(self.server.sign_in("ida@example.com", PASSWORD), 401)
        self.assertIn("ida", [one.agent_id for one in self.key.ListAgents().agents], "the agent stays")
        self.assertNotIn("ida", [user.agent_id for user in self.key.ListAssociatedUsers().agents])
        self.refused("NOT_FOUND", "NOT_FOUND", self.key.RemoveAssociation, agentId="nobody")

    def test_tokens_are_revoked(self):
        socket, other = self.server.agent("bob"), self.server.agent("alice")
        self.key.RevokeTokens(agentId="bob")
        self.assertEqual(socket.expect_close(), 4401)
        self.refused("NOT_FOUND", "NOT_FOUND", self.key.RevokeTokens, agentId="nobody")
        token = self.server.sign_in("alice")
        self.assertTrue(Caller(self.server, token).GetSettings().version)
        self.key.RevokeTokens()
        self.assertEqual(other.expect_close(), 4401, "all of the group")
        self.refused("UNAUTHENTICATED", "UNAUTHORIZED", Caller(self.server, token).GetSettings)

    def test_an_agent_asks_for_its_group_if_it_is_an_admin(self):
        self.refused(
            "PERMISSION_DENIED", "FORBIDDEN", Caller(self.server, self.server.sign_in("bob")).ListAgents
        )
        alice = Caller(self.server, self.server.sign_in("alice"))
        version = alice.GetSettings().version
        alice.UpdateSettings(
            settings={"graceSeconds": 8}, updateMask="graceSeconds", expectedVersion=str(version)
        )
        self.assertEqual(alice.ListSettingsChanges().changes[0].changed_by, "agent alice")
        self.refused("PERMISSION_DENIED", "FORBIDDEN", alice.CreateGroup, group="mine")
