"""Corners of the caps and of the accounting, through the real bidder and a real Redis."""
import collections
import http.client
import itertools
import json
import os
import signal
import subprocess
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
        """The persons with exposures."""
        return [key for key in self.redis().command("KEYS", "*") if harness.is_person(key) and
                any(len(field) == 7 for field in
                    self.redis().command("HKEYS", key.encode("latin-1")))]


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


class Races(Strict):
    def test_new_reach_is_one_line_only(self):
        """Requests for the same new person at the same moment, over workers and two lines."""
        self.catalog["campaigns"][0]["frequency_caps"] = ["joint"]
        line = catalogs.line(self.catalog, "red-rtb")
        line["new_reach_only"] = True
        other = {**line, "id": "red-rtb-2", "bid_cpm": 10.1}
        self.catalog["campaigns"][0]["line_items"].append(other)
        jointcap = self.start(workers=4, redis_timeout="1s")
        people, width, bids = 200, 8, collections.Counter()
        clients = [http.client.HTTPConnection(jointcap.host, jointcap.port,
                                              timeout=harness.WAIT_SECONDS) for _ in range(width)]
        for person in range(people):
            for client in clients:  # all are asked before one has answered
                client.request("POST", "/openrtb2/x204",
                               json.dumps(catalogs.request(f"new-{person}")),
                               {"Content-Type": "application/json"})
            for client in clients:
                response = client.getresponse()
                response.read()
                bids[person] += response.status == 200
        for client in clients:
            client.close()
        lost = jointcap.metrics().get('jointcap_frequency_events_total{event="lost_race"}', 0)
        print(f"{people} new persons, {width} requests each at once: {lost:.0f} races lost")
        self.assertEqual({p: n for p, n in bids.items() if n > 1}, {})
        self.assertGreater(sum(bids.values()), people // 2)

    def test_what_must_be_shown_counts_at_once(self):
        self.catalog["frequency_caps"][0]["max"] = 2
        del self.catalog["deals"][0]["push_ratio"]  # nothing may be returned
        catalogs.line(self.catalog, "red-pdb")["targeting"] = {"audiences": {"any": ["ta-blue"]}}
        jointcap = self.start()
        push = [catalogs.video(deals=[catalogs.pdb_deal()])]
        before = jointcap.metrics()
        forced = self.bid(jointcap, "p", push)
        self.assertEqual(jointcap.delta(before, "jointcap_forced_total"), 1)
        self.assertEqual(self.reason(jointcap, catalogs.request("p")), "bid")
        self.assertEqual(self.reason(jointcap, catalogs.request("p")), "at_cap")
        # Lost: its place comes back.
        self.assertIn(self.notify(jointcap, forced["lurl"]), (200, 204))
        harness.wait_until(lambda: self.reason(jointcap, catalogs.request("p")) == "bid", "it")
        self.assertEqual(self.reason(jointcap, catalogs.request("p")), "at_cap")

    def test_the_exchange_is_told_to_show_before_the_place_is_given_away(self):
        jointcap = self.start(reserve_seconds=60)
        self.assertEqual(self.bid(jointcap, "p")["exp"], 50)


class Booked(test_brands.BrandCase):
    """Every impression is booked where its bid committed, and the event log says so."""

    def reconciled(self, jointcap):
        jointcap.stop()
        said = self.ctl("reconcile", "--all", f"{self.folder}/events")
        self.assertRegex(said, r"(?m)^[1-9][0-9]* accounts, 0 differ")
        return [int(self.redis().command("HGET", key, "S") or 0)
                for key in self.redis().command("KEYS", "b:{*}:t")]

    def settled(self, jointcap, before, count):
        def done():
            grown = jointcap.deltas(before)
            return sum(grown.get('jointcap_notice_outcomes_total{outcome="%s"}' % name, 0)
                       for name in ("settled", "adopted", "late")) == count
        harness.wait_until(done, f"{count} settlements")

    def swapped(self, count):
        """Bids on a's deal that show b, and their bidder."""
        catalog = test_brands.swapping()
        catalog["campaigns"][1]["budget"]["total"] = 500000
        jointcap = self.start(catalog, workers=1, event_log=f"{self.folder}/events")
        self.load_segments({f"s{i}": ["seg-b"] for i in range(count + 200)})
        client = test_brands.Client(jointcap)
        bids, person = [], itertools.count()

        def lent():
            bid = client.bid(test_brands.video_request(f"s{next(person)}", "D-a"))
            if bid and bid["crid"] == "b-v":
                bids.append(bid)
            return len(bids) == count
        harness.wait_until(lent, "swapped bids")
        return jointcap, client, bids

    def test_the_owner_pays_for_what_it_lends(self):
        jointcap, client, bids = self.swapped(3)
        before = jointcap.metrics()
        for bid in bids:
            client.notify(test_brands.impression_url(bid))
        self.settled(jointcap, before, 3)
        client.close()
        self.assertEqual(sorted(self.reconciled(jointcap)), [0, 75000])

    def test_the_owner_pays_also_when_the_worker_is_gone(self):
        jointcap, client, bids = self.swapped(3)
        before = jointcap.metrics()
        old = jointcap.worker_pids()
        os.kill(old[0], signal.SIGKILL)
        client.close()
        harness.wait_until(lambda: jointcap.worker_pids() not in ([], old), "the next worker")
        for bid in bids:
            client.notify(test_brands.impression_url(bid))
        self.settled(jointcap, before, 3)
        client.close()
        harness.wait_until(lambda: jointcap.readyz()[0] == 200, "readiness")
        self.assertEqual(sorted(self.reconciled(jointcap)), [0, 75000])

    def test_a_campaign_renamed_while_bids_are_out(self):
        catalog = catalogs.catalog()
        jointcap = self.start(catalog, workers=1, event_log=f"{self.folder}/events")
        client = test_brands.Client(jointcap)
        bids = []

        def bid():
            got = client.bid(catalogs.request(f"r{len(bids)}"))
            if got:
                bids.append(got)
            return len(bids) == 4
        harness.wait_until(bid, "bids")
        catalog["campaigns"][0]["id"] = "red-renamed"
        catalog["campaigns"][1]["line_items"].append(
            catalog["campaigns"][0]["line_items"].pop())  # and the line is another's now
        catalog["campaigns"][1]["line_items"][-1]["creatives"] = ["green-native"]
        self.assertEqual(jointcap.load_catalog(catalog)[0], 200)
        before = jointcap.metrics()
        for one in bids:
            client.notify(one["burl"])
        self.settled(jointcap, before, 4)
        client.close()
        spent = sorted(self.reconciled(jointcap))
        self.assertEqual(spent[-1], 4 * 1000)


if __name__ == "__main__":
    unittest.main()
