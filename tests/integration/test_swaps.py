"""Swaps that are measured by value, and rights of killed workers, through the real bidder and a real
Redis: no ledger beyond its bound at any sampled moment, and afterwards exactly what was lent."""
import os
import random
import signal
import threading
import time
import unittest

import harness
from test_brands import Client, SwapCase, impression_url, swapping, video_request

COST = {"a": 25000, "b": 50000}  # micros of an impression of each brand's deal
UNIT = max(COST.values())        # the bound counts in the dearest one


def by_value(**swap):
    value = swapping(measure="value", **swap)
    for deal in value["deals"]:
        deal["cpm"] = COST[deal["owner"]] / 1000
    return value


def priced(person, deal):
    request = video_request(person, deal)
    request["imp"][0]["pmp"]["deals"][0]["bidfloor"] = COST[deal[-1]] / 1000
    return request


class Settled(SwapCase):
    def settle(self):
        """The ledger when it says the same for a second."""
        last = {}

        def still():
            before, last["now"] = last.get("now"), self.ledger()
            time.sleep(1)
            return before == last["now"] == self.ledger()
        harness.wait_until(still, "the ledger to settle", 60)
        return last["now"]

    def lent(self, results):
        """By side: how many of its deal's impressions the other brand showed."""
        return {side: sum(1 for deal, shown in results if shown and deal[-1] == side != shown)
                for side in "ab"}


class ByValue(Settled):
    limit = 100 * UNIT

    def run_pushes(self, jointcap, people, share_a=0.5, meanwhile=None, notices=None):
        seed = random.randrange(1 << 30)
        dice = random.Random(seed)
        requests = [(person, "D-a" if dice.random() < share_a else "D-b", dice.random())
                    for person in people]

        def work(client, item):
            person, deal, luck = item
            bid = client.bid(priced(person, deal))
            if bid and notices:
                notices(client, bid, luck)
            return deal, bid["crid"][0] if bid else None, luck

        results, samples = self.drive(jointcap, requests, work, meanwhile)
        print(f"seed {seed}: {len(samples)} samples", end="; ")
        return results

    def test_the_worth_is_balanced_not_the_number(self):
        people = self.people(4000)
        self.load_segments(people)
        jointcap = self.start(by_value())
        results = self.run_pushes(jointcap, people)
        given = self.lent([(deal, shown) for deal, shown, _ in results])
        ledger = self.settle()
        print(f"lent {given}, ledger {ledger}")
        for number, side in enumerate("ab"):
            self.assertEqual(ledger[f"S{number}"], given[side] * COST[side])
        self.check(ledger)
        self.assertGreater(given["a"], 200)
        # a's impressions are worth half: it may lend more of them than it borrows, never by value.
        self.assertLessEqual(abs(given["a"] * COST["a"] - given["b"] * COST["b"]), self.limit)
        self.assertGreater(given["a"], given["b"])

    def test_one_sided_stops_at_the_worth_of_the_bound(self):
        self.load_segments({f"s{i}": ["seg-b"] for i in range(600)})
        jointcap = self.start(by_value(), workers=1)

        def work(client, i):
            time.sleep(0.01)
            bid = client.bid(priced(f"s{i % 600}", "D-a"))
            return "D-a", bid["crid"][0]

        given, before = 0, -1
        for _ in range(20):  # until nothing more is lent, however slow the machine is
            if given == before:
                break
            before = given
            results, _ = self.drive(jointcap, range(600), work)
            given += self.lent(results)["a"]
        print(f"{given} lent, worth {given * COST['a']} of {self.limit}")
        self.assertLessEqual(given * COST["a"], self.limit)
        self.assertGreaterEqual(given, 190)  # 200 of the cheap ones are worth 100 of the dear

    def test_killed_workers_and_lost_notices(self):
        people = self.people(2400)
        self.load_segments(people)
        jointcap = self.start(by_value(), event_log=f"{self.folder}/events")

        def notices(client, bid, luck):
            if luck < 0.3:  # of the others no notice comes at all
                client.notify(bid["lurl"] if luck < 0.15 else impression_url(bid))

        def kill():
            for number in (0, -1):
                time.sleep(1)
                os.kill(jointcap.worker_pids()[number], signal.SIGKILL)

        results = self.run_pushes(jointcap, people, meanwhile=kill, notices=notices)
        ledger = self.settle()
        given = self.lent([(deal, shown) for deal, shown, _ in results])
        lost = self.lent([(deal, shown) for deal, shown, luck in results if luck < 0.15])
        print(f"lent {given}, of these lost {lost}; ledger {ledger}")
        self.check(ledger)
        self.assertEqual((ledger["Z0"], ledger["Z1"]), (0, 0))
        for number, side in enumerate("ab"):
            said = ledger[f"S{number}"]
            # Lost bids are taken back as far as the bound lets them; those that were being answered
            # when their worker was killed (eight connections, twice) count as lent.
            self.assertGreaterEqual(said, (given[side] - lost[side]) * COST[side])
            self.assertLessEqual(said, (given[side] + 16) * COST[side])
            self.assertEqual(said % COST[side], 0)


class Rights(Settled):
    """A killed worker's rights come back with its next process: none is lost in many kills."""

    def kill_and_lend(self, jointcap, kills):
        """One-sided pushes until nothing more is lent, with kills in between; what was lent."""
        results, stop = [], threading.Event()

        def push(number):
            client = Client(jointcap)
            while not stop.is_set():
                bid = client.bid(video_request(f"s{number}", "D-a"))
                results.append(("D-a", bid["crid"][0] if bid else None))
                time.sleep(0.01)
            client.close()

        threads = [threading.Thread(target=push, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(kills):
                before = self.lent(list(results))["a"]
                harness.wait_until(lambda: self.lent(list(results))["a"] > before + 3 and
                                   self.ledger()["O0"] > 0, "lending with rights at hand")
                victim = jointcap.worker_pids()[0]
                os.kill(victim, signal.SIGKILL)
                harness.wait_until(lambda: jointcap.worker_pids() and
                                   jointcap.worker_pids()[0] != victim, "the next process")
                self.check(self.ledger())

            def dry():
                before = self.ledger()
                time.sleep(1.5)
                return before == self.ledger()
            harness.wait_until(dry, "all to be lent", 60)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        return self.lent(results)["a"]

    def test_they_come_back(self):
        self.load_segments({f"s{i}": ["seg-b"] for i in range(4)})
        jointcap = self.start(swapping(), workers=1, event_log=f"{self.folder}/events")
        harness.wait_until(self.ledger, "rights")
        kills = 5
        lent = self.kill_and_lend(jointcap, kills)
        ledger = self.settle()
        print(f"{kills} kills, {lent} lent; ledger {ledger}")
        self.assertEqual((ledger["Z0"], ledger["Z1"]), (0, 0))
        self.check(ledger)
        self.assertEqual(ledger["S0"], self.limit)  # every right was used in the end
        # Each kill may have taken the answers of two connections along.
        self.assertLessEqual(lent, self.limit)
        self.assertGreaterEqual(lent, self.limit - 2 * kills)

    def test_a_worker_that_ends_in_order_gives_them_back(self):
        self.load_segments({f"s{i}": ["seg-b"] for i in range(4)})
        jointcap = self.start(swapping(), workers=2)
        harness.wait_until(lambda: (self.ledger() or {}).get("S0", 0) > 0 or
                           self.lend_one(jointcap), "something lent")
        harness.wait_until(lambda: self.ledger()["O0"] > 0, "rights")
        jointcap.stop()
        ledger = self.ledger()
        self.assertGreater(ledger["S0"], 0)
        self.assertEqual([ledger[name] for name in ("O0", "O1", "Z0", "Z1")], [0, 0, 0, 0])

    def lend_one(self, jointcap):
        client = Client(jointcap)
        client.bid(video_request("s1", "D-a"))
        client.close()
        return False


if __name__ == "__main__":
    unittest.main()
