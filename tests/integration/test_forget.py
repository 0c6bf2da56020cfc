"""Who is forgotten leaves nothing in Redis, and who withdraws only the word: also while bids are out,
auctions under way, notices late. Everything in Redis is looked at, keys and values, byte by byte."""
import json
import pathlib
import signal
import threading
import time
import unittest

import catalogs
import harness
import test_brands
from test_strict import CONFIRM, Strict

SETTLED = 'jointcap_notice_outcomes_total{outcome="settled"}'


class Scanning(Strict):
    def start(self, **options):
        # So that DUMP shows values as they are.
        self.redis().command("CONFIG", "SET", "rdbcompression", "no")
        return super().start(**options)

    def scan(self):
        """All of Redis: {key: DUMP}."""
        dumps = {key: self.redis().command("DUMP", key.encode("latin-1"))
                 for key in self.redis().command("KEYS", "*")}
        return {key: value for key, value in dumps.items() if value is not None}

    def persons(self):
        return {key: value for key, value in self.scan().items() if harness.is_person(key)}

    def keys_of(self, names):
        tags = set(self.persons())
        self.assertEqual(len(tags), names)
        return tags

    def assert_no_trace(self, tags):
        everything = self.scan()
        for tag in tags:
            for key, value in everything.items():
                self.assertNotIn(tag, key)
                self.assertNotIn(tag, value)
        for key, value in everything.items():
            self.assertNotIn("gone", key + value)


class Forgotten(Scanning):
    def test_with_bids_out(self):
        jointcap = self.start()
        before, nobody = jointcap.metrics(), self.persons()
        self.assertEqual(nobody, {})
        bids = [self.bid(jointcap, "gone") for _ in range(2)]
        tags = self.keys_of(1)
        self.assertIn("1 record deleted", self.ctl("forget", "ifa:gone"))
        self.assertEqual(self.persons(), nobody)
        self.assert_no_trace(tags)
        for bid in bids:
            for _ in range(2):
                self.assertIn(self.notify(jointcap, bid["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, SETTLED) == 2, "the money")
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_void") >= 2, "both")
        self.assertEqual(jointcap.delta(before, CONFIRM % "confirm_stored"), 0)
        self.assertEqual(self.persons(), nobody)
        self.assert_no_trace(tags)

    def test_bids_of_lines_that_do_not_reserve(self):
        catalogs.line(self.catalog, "red-rtb")["reserve"] = False
        jointcap = self.start()
        before = jointcap.metrics()
        banner = self.bid(jointcap, "gone")
        native = self.bid(jointcap, "gone", [catalogs.native()])  # no cap at all
        tags = self.keys_of(1)
        self.ctl("forget", "ifa:gone")
        for bid in (banner, native):
            self.assertIn(self.notify(jointcap, bid["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_void") == 2, "both")
        self.assertEqual(self.persons(), {})
        self.assert_no_trace(tags)

    def test_then_a_new_bid_then_the_old_notice(self):
        jointcap = self.start()
        before = jointcap.metrics()
        old = self.bid(jointcap, "gone")
        self.ctl("forget", "ifa:gone")
        new = self.bid(jointcap, "gone")
        (key, reserved), = self.persons().items()
        self.assertIn(self.notify(jointcap, old["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_void") == 1, "it")
        self.assertEqual(self.persons(), {key: reserved})
        self.assertIn(self.notify(jointcap, new["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_stored") == 1, "it")
        self.assertEqual(self.redis().command("HLEN", key.encode("latin-1")), 1)
        self.assertEqual(self.ctl("person", "ifa:gone").count("shown"), 1)

    def test_linked_ids_and_everything_known(self):
        jointcap = self.start()
        links = pathlib.Path(self.folder, "links.csv")
        links.write_text("ifa,gone,buyeruid@x,gone-too\n")
        self.ctl("link", str(links))
        self.ctl("audience", "add", "ifa:gone", "seg-red")
        self.ctl("consent", "ifa:gone", "--max-contacts=9", "--mute=IAB7")
        before = jointcap.metrics()
        shown, bid = self.bid(jointcap, "gone"), self.bid(jointcap, "gone")
        self.assertIn(self.notify(jointcap, shown["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_stored") == 1, "it")
        tags = self.keys_of(2)
        self.ctl("forget", "buyeruid@x:gone-too")
        self.assertIn(self.notify(jointcap, bid["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_void") == 1, "it")
        self.assertEqual(self.persons(), {})
        self.assert_no_trace(tags)

    def test_an_auction_that_had_read_before_reserves_behind(self):
        jointcap = self.start()
        self.assertIsNotNone(self.bid(jointcap, "gone"))
        (key, _), = self.persons().items()
        fields = self.redis().command("HGETALL", key.encode("latin-1"))
        tool = threading.Thread(target=self.ctl, args=("forget", "ifa:gone"))
        tool.start()
        harness.wait_until(lambda: not self.persons(), "the first deletion")
        self.redis().command("HSETNX", key.encode("latin-1"),
                             *(text.encode("latin-1") for text in fields))
        tool.join()
        self.assertEqual(self.persons(), {})


class Withdrawn(Scanning):
    """Only the word stays."""

    def test_by_tool(self):
        self.check(lambda jointcap: self.ctl("consent", "ifa:gone", "--withdraw"))

    def test_by_endpoint(self):
        self.check(lambda jointcap: self.assertEqual(200, jointcap.admin(
            "POST", "/consent", json.dumps({"id": "ifa:gone", "withdrawn": True}))[0]))

    def check(self, leave):
        jointcap = self.start()
        bids = [self.bid(jointcap, "gone") for _ in range(2)]
        stays = self.bid(jointcap, "stays")
        self.assertEqual(len(self.records()), 2)
        fields = self.redis().command("HGETALL", self.records()[0].encode("latin-1"))
        tool = threading.Thread(target=leave, args=(jointcap,))
        tool.start()
        harness.wait_until(lambda: len(self.records()) == 1, "the deletion")
        gone, = set(self.persons()) - set(self.records())
        self.redis().command("HSETNX", gone.encode("latin-1"),  # an auction under way
                             *(text.encode("latin-1") for text in fields[:2]))
        tool.join()
        self.assertEqual(len(self.records()), 1)
        before = jointcap.metrics()
        for bid in bids:
            self.assertIn(self.notify(jointcap, bid["burl"]), (200, 204))
        self.assertIn(self.notify(jointcap, stays["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_void") == 2, "both")
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_stored") == 1,
                           "the other one to be written")
        self.assertEqual(len(self.records()), 1)
        self.assertEqual(self.redis().command("HGETALL", gone.encode("latin-1")), ["w", "1"])


class Late(Scanning):
    """A notice behind the reservation's end still counts; only what was taken away does not."""

    def test_behind_the_reservation(self):
        jointcap = self.start(reserve_seconds=1)
        before = jointcap.metrics()
        bids = [self.bid(jointcap, "late") for _ in range(3)]
        self.assertEqual(self.reason(jointcap, catalogs.request("late")), "at_cap")
        time.sleep(2.1)
        self.assertIn("expired", self.ctl("person", "ifa:late"))
        for bid in bids:
            self.assertIn(self.notify(jointcap, bid["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_stored") == 3, "all")
        self.assertEqual(jointcap.delta(before, CONFIRM % "confirm_revived"), 3)
        self.assertEqual(self.reason(jointcap, catalogs.request("late")), "at_cap")

    def test_a_redis_that_lost_the_bid_is_told_again(self):
        jointcap = self.start()
        before = jointcap.metrics()
        bid = self.bid(jointcap, "late")
        self.redis().stop(signal.SIGKILL)
        harness.wait_until(lambda: jointcap.readyz()[0] != 200, "the loss to be seen")
        self._redis = harness.Redis(self.folder)  # empty
        self.addCleanup(self._redis.stop, signal.SIGKILL)
        harness.wait_until(lambda: jointcap.readyz()[0] == 200, "Redis")
        self.assertEqual(self.persons(), {})
        self.assertIn(self.notify(jointcap, bid["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_restored") == 1, "it")
        (key, _), = self.persons().items()
        self.assertGreater(self.redis().command("TTL", key.encode("latin-1")), 3600)
        self.assertEqual(self.ctl("person", "ifa:late").count("shown"), 1)

    def test_what_was_not_shown_goes_by_itself(self):
        jointcap = self.start(reserve_seconds=1, notice_ttl="5m")
        self.assertIsNotNone(self.bid(jointcap, "late"))
        (key, _), = self.persons().items()
        left = self.redis().command("TTL", key.encode("latin-1"))
        self.assertTrue(300 + 3600 < left <= 300 + 3660 + 1800, left)

    def test_lines_that_do_not_reserve_count_at_the_impression(self):
        catalogs.line(self.catalog, "red-rtb")["reserve"] = False
        jointcap = self.start()
        before = jointcap.metrics()
        bids = [self.bid(jointcap, "late") for _ in range(4)]
        self.assertEqual(len([bid for bid in bids if bid]), 4)  # the cap is 3: nothing is held
        self.assertEqual(self.ctl("person", "ifa:late").count("  bid  "), 4)
        for bid in bids[:3]:
            self.assertIn(self.notify(jointcap, bid["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_stored") == 3, "all")
        self.assertEqual(self.reason(jointcap, catalogs.request("late")), "at_cap")
        self.assertIn(self.notify(jointcap, bids[3]["lurl"]), (200, 204))
        (key, _), = self.persons().items()
        harness.wait_until(lambda: self.redis().command("HLEN", key.encode("latin-1")) == 3,
                           "the lost one to go")


class Linked(Scanning):
    def test_an_auction_that_had_read_before_reserves_behind(self):
        """The tool copies a second time."""
        jointcap = self.start()
        self.assertIsNotNone(self.bid(jointcap, "one"))
        (one, _), = self.persons().items()
        fields = [text.encode("latin-1")
                  for text in self.redis().command("HGETALL", one.encode("latin-1"))]
        links = pathlib.Path(self.folder, "links.csv")
        links.write_text("ifa,one,ifa,two\n")
        tool = threading.Thread(target=self.ctl, args=("link", str(links)))
        tool.start()
        harness.wait_until(lambda: len(self.records()) == 2, "the first copy")
        other = bytes([fields[0][0], *fields[0][1:6], fields[0][6] ^ 1])
        self.redis().command("HSETNX", one.encode("latin-1"), other, fields[1])
        tool.join()
        two, = set(self.persons()) - {one}
        copied = self.redis().command("HGETALL", two.encode("latin-1"))
        copied = {field: value for field, value in zip(copied[::2], copied[1::2])
                  if len(field) == 7}
        self.assertEqual(set(copied), {field.decode("latin-1") for field in (fields[0], other)})
        self.assertEqual({len(value) for value in copied.values()}, {11})
        self.assertEqual(self.reason(jointcap, catalogs.request("two")), "bid")
        self.assertEqual(self.reason(jointcap, catalogs.request("two")), "at_cap")
        # What holds no place is not made an exposure by copying.
        expired = bytes([fields[0][0], fields[0][1], 0, 0, *fields[0][4:]])
        self.redis().command("HSETNX", one.encode("latin-1"), expired, fields[1])
        self.ctl("link", str(links))
        self.assertNotIn(expired.decode("latin-1"),
                         self.redis().command("HKEYS", two.encode("latin-1")))


class Asked(test_brands.CrossAdvertiser):
    """A DMP that takes its time while consent is withdrawn."""

    def test_a_late_answer_is_not_kept(self):
        def member(person, audience):
            key = bytes.fromhex(person)
            if person not in asked:
                asked[person] = key
                if len(asked) % 2:
                    self.redis().command("HSET", key, "w", "1")
            return audience == "ta-b"

        asked = {}
        self.dmp.member = member
        self.dmp.mode, self.dmp.delay = "slow", 0.12  # the auction waits 0.1
        jointcap = self.start(test_brands.swapping(self.dmp.url), workers=1)
        client = test_brands.Client(jointcap)
        for i in range(4):
            client.bid(test_brands.video_request(f"slow{i}", "D-a"))
            time.sleep(0.1)
        client.close()
        keys = list(asked.values())
        self.assertEqual(len(keys), 4)
        for key in keys[1::2]:
            harness.wait_until(lambda: sum(
                len(field) == 9 for field in self.redis().command("HKEYS", key)) == 2,
                "two answers")
        for key in keys[::2]:  # and a bid announced: no tool deleted it
            self.assertEqual([field for field in self.redis().command("HKEYS", key)
                              if len(field) != 7], ["w"])


# Only the class above is meant to run here.
for _name in [name for name in dir(test_brands.CrossAdvertiser) if name.startswith("test_")]:
    setattr(Asked, _name, None)


if __name__ == "__main__":
    unittest.main()
