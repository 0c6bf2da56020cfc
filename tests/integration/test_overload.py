"""More requests than one worker can decide: what it does not decide is answered and counted."""
import json
import pathlib
import subprocess
import unittest

import catalogs
import harness

LOAD = harness.BUILD / "jointcap-load"


class Overload(harness.Case):
    def test_every_request_is_answered_and_counted_once(self):
        body = pathlib.Path(self.folder) / "request.json"
        body.write_text(json.dumps(catalogs.request("0123456789abcdef0123456789abcdef", tmax=1000)))
        catalog = pathlib.Path(self.folder) / "catalog.json"
        catalog.write_text(json.dumps(catalogs.catalog()))
        server = self.jointcap(catalog=catalog, workers=1, shed_lag="1ms", redis_timeout="500ms")
        harness.wait_until(lambda: server.bid("x204", catalogs.request("warm", test=1))[0] == 200,
                           "a bid")
        before = server.metrics()
        result = pathlib.Path(self.folder) / "result.json"
        # A closed loop of far more connections than a turn takes: there is always a queue.
        done = subprocess.run([str(LOAD), "--saturate", "--connections", "600", "--duration", "2",
                               "--warmup", "0", "--timeout", "30000", "--grace", "20000", "--seed",
                               "1", "--body", str(body), "--json", str(result),
                               f"http://127.0.0.1:{server.port}/openrtb2/x204"],
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        outcomes = json.loads(result.read_text())["outcomes"]
        for bad in ("other_status", "timeout", "closed", "malformed"):
            self.assertEqual(outcomes[bad], 0, outcomes)
        harness.wait_until(lambda: server.metrics().get("jointcap_auctions_running", 0) == 0,
                           "the last auction")
        grown = server.deltas(before)
        no_bids = {name: count for name, count in grown.items()
                   if name.startswith("jointcap_no_bids_total")}
        shed = no_bids.get('jointcap_no_bids_total{reason="overloaded"}', 0)
        decided = grown["jointcap_bid_requests_total"] - shed
        self.assertGreater(shed, 0)
        self.assertGreater(decided, 0)  # shedding leaves time for the others
        undelivered = grown.get("jointcap_answers_undelivered_total", 0)  # clients stop at the end
        self.assertEqual(grown["jointcap_bid_responses_total"] + undelivered + sum(no_bids.values()),
                         grown["jointcap_bid_requests_total"])
        self.assertLessEqual(outcomes["bid"], grown["jointcap_bid_responses_total"])
        self.assertLessEqual(outcomes["bid"] + outcomes["no_bid"],
                             grown["jointcap_bid_requests_total"])


if __name__ == "__main__":
    unittest.main()
