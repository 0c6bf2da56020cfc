"""Corners of the caps and of the accounting, through the real bidder and a real Redis."""
import json
import os
import subprocess
import threading
import time
import unittest

import catalogs
import harness
import test_brands
from test_bids import WithX

CONFIRM = 'jointcap_frequency_events_total{event="%s"}'


class Strict(WithX):
    def bid(self, jointcap, person, imps=None, **changes):
        answer = jointcap.bid("x", catalogs.request(person, imps, **changes))[1]
        return answer["seatbid"][0]["bid"][0] if answer and answer.get("seatbid") else None

    def ctl(self, name, *args, code=0):
        env = {**os.environ, "JOINTCAP_SECRET": harness.SECRET}
        done = subprocess.run([str(harness.JOINTCAPCTL), name, f"--redis={self.redis().address}",
                               *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=harness.WAIT_SECONDS, check=False, env=env)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def records(self):
        return [key for key in self.redis().command("KEYS", "{*}c")]


class Unknown(Strict):
    """A cap that cannot be checked is not a cap that is open."""

    def home(self, person, ip):
        value = catalogs.request(person)
        value["device"].pop("ip")
        if ip:
            value["device"]["ip"] = ip
        return value

    def test_a_household_cap_needs_the_household(self):
        self.catalog["frequency_caps"].append(
            {"id": "home", "max": 2, "window": "lifetime", "identity": "household"})
        self.catalog["campaigns"][0]["frequency_caps"] = ["home"]
        for exchange in self.catalog["exchanges"]:
            exchange["household_ids"] = ["device.ip"]
        jointcap = self.start()
        self.assertEqual(self.reason(jointcap, self.home("p1", None)), "no_id")
        # Three persons of one home: two impressions. Nobody known but the home: counted alike.
        self.assertEqual(self.reason(jointcap, self.home("p1", "198.51.100.7")), "bid")
        self.assertEqual(self.reason(jointcap, self.home(None, "198.51.100.7")), "bid")
        self.assertEqual(self.reason(jointcap, self.home(None, "198.51.100.7")), "at_cap")
        self.assertEqual(self.reason(jointcap, self.home("p3", "198.51.100.7")), "at_cap")
        self.assertEqual(self.reason(jointcap, self.home("p3", "198.51.100.9")), "bid")

    def test_a_persons_cap_needs_the_person(self):
        self.catalog["frequency_caps"].append(
            {"id": "home", "max": 9, "window": "lifetime", "identity": "household"})
        self.catalog["campaigns"][0]["frequency_caps"] = ["home", "red-day"]
        for exchange in self.catalog["exchanges"]:
            exchange["household_ids"] = ["device.ip"]
        jointcap = self.start()
        self.assertEqual(self.reason(jointcap, self.home(None, "198.51.100.7")), "no_id")

    def test_a_creatives_cap_holds_without_the_store(self):
        self.catalog["campaigns"][0]["frequency_caps"] = []
        self.catalog["creatives"][1]["frequency_caps"] = ["red-day"]
        jointcap = self.start()
        self.assertEqual(self.reason(jointcap, catalogs.request("p1")), "bid")
        anonymous = catalogs.request(None)
        anonymous["device"].pop("ip")
        self.assertEqual(self.reason(jointcap, anonymous), "no_id")
        self.redis().stop()
        reasons = {self.reason(jointcap, catalogs.request(f"q{i}")) for i in range(5)}
        self.assertLessEqual(reasons, {"store_down", "store_late"})


class Gone(Strict):
    """Who withdraws or is forgotten between bid and notice leaves no byte."""

    def test_forgotten(self):
        self.check(lambda jointcap: self.ctl("forget", "ifa:gone"))

    def test_withdrawn_by_tool(self):
        self.check(lambda jointcap: self.ctl("consent", "ifa:gone", "--withdraw"))

    def test_withdrawn_by_endpoint(self):
        self.check(lambda jointcap: jointcap.admin(
            "POST", "/consent", json.dumps({"id": "ifa:gone", "withdrawn": True})))

    def check(self, leave):
        jointcap = self.start()
        bids = [self.bid(jointcap, "gone") for _ in range(2)]
        stays = self.bid(jointcap, "stays")
        self.assertEqual(len(self.records()), 2)
        leave(jointcap)
        self.assertEqual(len(self.records()), 1)
        before = jointcap.metrics()
        for bid in bids:
            self.assertIn(self.notify(jointcap, bid["burl"]), (200, 204))
        self.assertIn(self.notify(jointcap, stays["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_void") == 2,
                           "both to be taken back")
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_stored") == 1,
                           "the other one to be written")
        harness.wait_until(lambda: len(self.records()) == 1, "no byte of them")

    def test_who_comes_back_is_counted_again(self):
        jointcap = self.start()
        self.assertIsNotNone(self.bid(jointcap, "gone"))
        self.ctl("forget", "ifa:gone")
        time.sleep(3.1)  # the mark lies two seconds ahead, for clocks that differ
        before = jointcap.metrics()
        bid = self.bid(jointcap, "gone")
        self.assertIn(self.notify(jointcap, bid["burl"]), (200, 204))
        harness.wait_until(lambda: jointcap.delta(before, CONFIRM % "confirm_stored") == 1, "it")
        self.assertEqual(len(self.records()), 1)


if __name__ == "__main__":
    unittest.main()
