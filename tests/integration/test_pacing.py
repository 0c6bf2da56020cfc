"""Money and pacing through the real bidder and Redis: the throttle, returns, leases over restarts."""
import json
import os
import signal
import time
import unittest

import catalogs
import harness
from test_bids import WithX

PDB = [catalogs.video(deals=[catalogs.pdb_deal()])]


class Pacing(WithX):
    def pages(self, jointcap):
        status, _, body = jointcap.admin("GET", "/pacing?format=json")
        self.assertEqual(status, 200)
        return {row["budget"]: row for row in map(json.loads, body.decode().splitlines())}

    def test_a_paced_line_lets_its_first_requests_through_and_then_a_share(self):
        self.catalog["campaigns"][0]["budget"]["pacing"] = "even"
        jointcap = self.start()
        before = jointcap.metrics()
        for i in range(40):  # fewer than Redis is asked in: nothing is published yet
            jointcap.bid("x", catalogs.request(f"p{i}"))
        harness.wait_until(lambda: "reason" in self.pages(jointcap)["campaign:red-c"],
                           "the pacer to publish")
        for i in range(200):
            jointcap.bid("x", catalogs.request(f"q{i}"))
        throttled = jointcap.delta(before, 'jointcap_no_bids_total{reason="throttled"}')
        self.assertGreater(throttled, 100)
        self.assertLess(throttled, 240 - 31)
        row = self.pages(jointcap)["campaign:red-c"]
        self.assertEqual(row["today"]["limit"], 100000)
        self.assertEqual(row["target"], 2500)  # a 400th of the total: its end is far away
        self.assertLess(row["throttle"], 0.1)
        page = jointcap.admin("GET", "/pacing")[2].decode()
        self.assertIn("campaign:red-c", page)

    def test_a_unit_that_changes_with_bids_in_flight_starts_a_new_account(self):
        campaign = self.catalog["campaigns"][0]
        campaign["budget"] = {"total": 1000, "pacing": "asap"}
        jointcap = self.start()
        bids = [jointcap.bid("x", catalogs.request(f"p{i}"))[1]["seatbid"][0]["bid"][0]
                for i in range(3)]
        self.notify(jointcap, bids[0]["burl"], 8)
        campaign["budget"] = {"total": 1000, "unit": "impressions", "pacing": "asap"}
        status, answer = jointcap.load_catalog(self.catalog)
        self.assertEqual(status, 200)
        self.assertIn("counted money so far and counts impressions now", json.dumps(answer))
        self.notify(jointcap, bids[1]["burl"], 8)  # its flight is on the account in money
        answers = []

        def bids_again():
            answers.append(jointcap.bid("x", catalogs.request(f"q{len(answers)}"))[1] or {})
            return "seatbid" in answers[-1]
        harness.wait_until(bids_again, "a lease in impressions")
        self.notify(jointcap, answers[-1]["seatbid"][0]["bid"][0]["burl"], 8)

        def settled():
            redis = self.redis()
            return sorted(int(redis.command("HGET", key, "S") or 0)
                          for key in redis.command("KEYS", "b:{*}:t"))
        harness.wait_until(lambda: settled()[-1] == 16000 and 1 in settled(), "Redis")

    def test_returns_stay_within_the_allowance_and_then_it_must_fill(self):
        jointcap = self.start()
        time.sleep(0.5)
        self.assertEqual(jointcap.bid("x", catalogs.request("p", PDB))[0], 200)
        before = jointcap.metrics()
        pushes = 90
        for _ in range(pushes):  # one person, three a day: the rest is unwanted
            jointcap.bid("x", catalogs.request("p", PDB))
            time.sleep(0.005)
        returned = jointcap.delta(before, "jointcap_returns_total")
        filled = jointcap.delta(before, "jointcap_bids_total{buying=\"pdb\"}")
        self.assertGreater(returned, 8)
        self.assertLessEqual(returned, (pushes + 1) / 3 + 20)
        self.assertEqual(returned + filled, pushes)
        self.assertGreater(jointcap.delta(before, "jointcap_forced_total"), 0)


class Restart(WithX):
    def account(self):
        keys = [key for key in self.redis().command("KEYS", "b:{*}:t")]
        flat = {}
        for key in keys:
            fields = self.redis().command("HMGET", key, "S", "O")
            flat[key] = tuple(int(field) for field in fields)
        return flat

    def test_what_a_killed_worker_spent_is_told_by_its_log(self):
        options = {"event_log": self.folder, "event_fsync": "batch", "win_timeout": "5s"}
        jointcap = self.start(**options)
        spent = 0
        for i in range(30):
            status, answer = jointcap.bid("x", catalogs.request(f"p{i}"))
            self.assertEqual(status, 200)
            bid = answer["seatbid"][0]["bid"][0]
            self.assertIn(self.notify(jointcap, bid["burl"], 8), (200, 204))
            spent += 8000  # micros: 8 CPM of 10
        harness.wait_until(lambda: jointcap.metrics().get(
            'jointcap_event_log_records_total{kind="settle"}', 30) >= 30, "the settlements")
        time.sleep(0.3)
        os.kill(jointcap.worker_pids()[0], signal.SIGKILL)
        harness.wait_until(lambda: any(settled == spent for settled, _ in self.account().values()),
                           "the next run to tell")
        # Once no notice of the former run can come, only the float of the new one is out.
        harness.wait_until(lambda: all(out < 5_000_000_000 for _, out in self.account().values()),
                           "the old lease to come back")


if __name__ == "__main__":
    unittest.main()
