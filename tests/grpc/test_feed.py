"""Feeds of records, and leads."""

from porch import Caller, Case

CASE = {"object": "Case", "id": "500"}


class Feed(Case):
    def test_posts_are_made_once_in_the_callers_name_and_read_page_by_page(self):
        first = self.key.PostFeed(record=CASE, text="One", link="https://x.y/1", requestId="r1").item
        again = self.key.PostFeed(record=CASE, text="One", link="https://x.y/1", requestId="r1").item
        self.assertEqual(first, again)
        self.assertEqual(first.author_name, f"key {first.author.id}")
        alice = Caller(self.server, self.server.sign_in("alice"))
        self.assertEqual(alice.PostFeed(record=CASE, text="Two").item.author_name, "Alice")
        self.operator.PostFeed(group="demo", record=CASE, text="Three")
        items, pages = self.pages(self.key.ListFeed, "items", 2, record=CASE)
        self.assertEqual(([item.text for item in items], pages), (["Three", "Two", "One"], 2))
        self.assertEqual(list(self.key.ListFeed(record={"object": "Case", "id": "501"}).items), [])

    def test_followers_are_told(self):
        bob = self.server.agent("bob")
        record = {"object": "Case", "id": "502"}
        bob.send({"type": "follow", "record": record, "id": 1})
        bob.expect("ok")
        made = self.key.PostFeed(record=record, text="Hello").item
        self.assertEqual(bob.expect("feedItem")["item"]["id"], made.post_id)

    def test_refusals(self):
        self.bad(["record"], self.key.ListFeed)
        self.bad(["page_token"], self.key.ListFeed, record=CASE, pageToken="x")
        self.bad(["record.id"], self.key.PostFeed, record={"object": "Case"}, text="x")
        self.bad(["text"], self.key.PostFeed, record=CASE, text=" ")
        self.bad(["link"], self.key.PostFeed, record=CASE, text="x", link="javascript:alert(1)")
        self.key.PostFeed(record=CASE, text="x", requestId="r2")
        other = {"record": CASE, "text": "y", "requestId": "r2"}
        self.refused("ALREADY_EXISTS", "REQUEST_ID_REUSED", self.key.PostFeed, **other)
        self.refused("NOT_FOUND", "NOT_FOUND", self.key.PostFeed, group="nowhere", record=CASE, text="x")


class Leads(Case):
    def test_there_are_none_before_guests_give_their_email(self):
        answer = self.key.ListLeads()
        self.assertEqual((list(answer.leads), answer.next_page_token), ([], ""))
        self.bad(["page_token"], self.key.ListLeads, pageToken="x")
        self.refused("NOT_FOUND", "NOT_FOUND", self.operator.ListLeads, group="nowhere")
