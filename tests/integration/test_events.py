"""jointcapctl events and reconcile: event log files made here byte by byte, and a real Redis."""
import json
import pathlib
import struct
import subprocess

import harness

OPENED, END, BID, SETTLE = 1, 2, 3, 12
BUDGET_A, BUDGET_B = 0x1a2b3c4d, 0x00000007


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def record(kind, auction=0, cost=0, budgets=(), date=0, owner=0, impressions=0):
    message = b"\x08" + varint(kind)
    if auction:
        message += b"\x19" + struct.pack("<Q", auction)
    if cost:
        message += b"\x60" + varint(cost)
    if budgets:
        packed = struct.pack(f"<{len(budgets)}I", *budgets)
        message += b"\x82\x01" + varint(len(packed)) + packed
    if owner:
        message += b"\xb8\x01" + varint(owner)
    if date:
        message += b"\xc8\x01" + varint(date)
    if impressions:
        message += b"\xd0\x01" + varint(impressions)
    return struct.pack("<II", len(message), crc32c(message)) + message


class Events(harness.Case):
    def ctl(self, *args):
        return subprocess.run([str(harness.JOINTCAPCTL), *map(str, args)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=harness.WAIT_SECONDS,
                              check=False)

    def write(self, name, *records):
        folder = pathlib.Path(self.folder) / "events"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"".join(records))
        return folder / name

    def test_events_are_json_lines(self):
        path = self.write("events-1-20261122T00-00001.log", record(OPENED, owner=1),
                          record(BID, auction=5, cost=30000), record(END))
        done = self.ctl("events", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([line["event"] for line in lines], ["opened", "bid", "end"])
        self.assertEqual(lines[1]["cost_micros"], 30000)
        only = self.ctl("events", "--kind", "bid", path).stdout.splitlines()
        self.assertEqual(len(only), 1)

    def test_torn_is_fine_damaged_is_not(self):
        good = record(BID, auction=5)
        torn = self.write("events-1-20261122T00-00001.log", good, good[:-3])
        self.assertEqual(self.ctl("events", torn).returncode, 0)
        damaged = self.write("events-1-20261122T00-00002.log", good, good[:-1] + b"\xff", good)
        done = self.ctl("events", damaged)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"damaged at byte {len(good)}", done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertEqual(self.ctl("events", self.folder + "/none").returncode, 1)

    def settle_three(self):
        self.write("events-1-20261122T00-00001.log", record(OPENED, owner=1),
                   record(SETTLE, 1, 700, (BUDGET_A, BUDGET_B), 20261122, 1, impressions=2),
                   record(SETTLE, 2, 300, (BUDGET_A, BUDGET_B), 20261123, 1, impressions=2),
                   record(SETTLE, 2, 300, (BUDGET_A, BUDGET_B), 20261123, 1, impressions=2))
        self.write("events-2-20261122T00-00001.log",
                   record(SETTLE, 3, 11, (BUDGET_A,), 20261122, 2))
        return pathlib.Path(self.folder) / "events"

    def test_reconcile(self):
        folder, redis = self.settle_three(), self.redis()
        redis.command("HSET", "b:{1a2b3c4d}:t", "S", 1011, "O", 50)
        redis.command("HSET", "b:{1a2b3c4d}:20261122", "S", 711, "O", 0)
        redis.command("HSET", "b:{00000007}:t", "S", 2, "O", 1)
        done = self.ctl("reconcile", "--redis", redis.address, "--all", folder)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("3 accounts, 0 differ", done.stdout)
        self.assertIn("3 settled impressions in the logs, 1 recorded twice", done.stderr)

        redis.command("HSET", "b:{1a2b3c4d}:t", "S", 1010)
        done = self.ctl("reconcile", "--redis", redis.address, "--json", folder)
        self.assertEqual(done.returncode, 1)
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()],
                         [{"budget": "1a2b3c4d", "account": "total", "logged": 1011,
                           "settled": 1010, "out": 50, "difference": -1}])

    def test_reconcile_sees_what_one_side_lacks(self):
        folder, redis = self.settle_three(), self.redis()
        redis.command("HSET", "b:{1a2b3c4d}:t", "S", 1011, "O", 0)
        redis.command("HSET", "b:{0000beef}:t", "S", 5, "O", 0)  # spent, but in no log
        done = self.ctl("reconcile", "--redis", redis.address, "--json", folder)
        self.assertEqual(done.returncode, 1)
        rows = {(row["budget"], row["account"]): row["difference"]
                for row in map(json.loads, done.stdout.splitlines())}
        self.assertEqual(rows, {("0000beef", "total"): 5, ("00000007", "total"): -2,
                                ("00000007", "20261122"): -1, ("00000007", "20261123"): -1})

    def test_reconcile_without_redis_or_folder(self):
        folder = self.settle_three()
        nobody = f"unix:{self.folder}/nobody.sock"
        self.assertEqual(self.ctl("reconcile", "--redis", nobody, folder).returncode, 3)
        self.assertEqual(self.ctl("reconcile", "--redis", nobody, folder / "x").returncode, 1)
