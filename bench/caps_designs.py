#!/usr/bin/env python3
"""Three ways to keep a person's exposures in Redis, measured on a real server: memory per person and
Redis CPU per decision. frequency/README.md says which was chosen and quotes these figures.

  exposures  a hash, one field per exposure (ours): HSETNX, HGETALL, OBJECT ENCODING
  counters   a hash, one counter per cap and window bucket: HINCRBY per cap, replies checked;
             besides it one pending field per reservation, so that a confirm counts once
  packed     one string per person, all of it in a Lua script

    bench/caps_designs.py [--persons 50000] [--decisions 20000]
"""
import argparse
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time

NOW = int(time.time())
TTL = 90 * 86400

LUA = """
local now, max, window, mine = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local all = redis.call('GET', KEYS[1]) or ''
local keep, count = {}, 0
for at = 1, #all, 18 do
    local time, hold = struct.unpack('>I4', all, at), struct.unpack('>I2', all, at + 16)
    if time + window > now and (hold == 0 or time + hold > now) then
        keep[#keep + 1] = all:sub(at, at + 17)
        count = count + 1
    end
end
if count >= max then return 0 end
keep[#keep + 1] = mine
redis.call('SET', KEYS[1], table.concat(keep), 'EX', ARGV[5])
return count + 1
"""
LUA_CONFIRM_EXPOSURE = """local k,f,t=KEYS[1],ARGV[1],ARGV[3] local v=redis.call('HGET',k,f)
if not v and ARGV[4]=='0' then return 0 end
if v and #v~=13 then return -1 end
redis.call('HSET',k,f,ARGV[2])
if redis.call('EXPIRE',k,t,'GT')==0 then redis.call('EXPIRE',k,t,'NX') end
return v and v:byte(12)*256+v:byte(13) or -2
"""
LUA_CONFIRM = """
local all = redis.call('GET', KEYS[1]) or ''
for at = 1, #all, 18 do
    if all:sub(at, at + 6) == ARGV[1] then
        redis.call('SETRANGE', KEYS[1], at + 15, '\\0\\0')
        return 1
    end
end
return 0
"""


def resp(*args):
    parts = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Redis:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="jointcap-designs-")
        path = f"{self.folder}/s"
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly",
             "no", "--dir", self.folder, "--hash-max-listpack-entries", "512", "--loglevel",
             "warning"], stdout=subprocess.DEVNULL)
        while not os.path.exists(path):
            time.sleep(0.02)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.reader = self.socket.makefile("rb", 1 << 20)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)

    def reply(self):
        line = self.reader.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.reader.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return rest

    def call(self, *args):
        self.socket.sendall(resp(*args))
        return self.reply()

    def pipeline(self, commands, count):
        """Sends commands, reads count replies, keeping the sockets from filling up."""
        self.socket.sendall(commands)
        return [self.reply() for _ in range(count)]

    def info(self, section, name):
        for line in self.call("INFO", section).decode().split("\r\n"):
            if line.startswith(name + ":"):
                return float(line.split(":")[1])
        raise KeyError(name)

    def cpu(self):
        return self.info("cpu", "used_cpu_user_main_thread") + \
            self.info("cpu", "used_cpu_sys_main_thread")


def person(number):
    return struct.pack(">QQ", 1 << 63 | number * 2654435761 % (1 << 62), number << 16)[:14]


class Exposures:
    name = "exposures"

    def shown(self, n, i, caps):
        field = struct.pack(">I", NOW - i) + struct.pack(">I", n * 31 + i)[1:]
        key = person(n)
        return resp("HSET", key, field, b"linecreabra") + resp("EXPIRE", key, TTL, "NX"), 2

    def decision(self, n, i, caps):
        key = person(n)
        field = struct.pack(">I", NOW) + struct.pack(">I", i)[1:]
        read = resp("HGETALL", key)
        reserve = (resp("HSETNX", key, field, b"linecreabra\0\x3c") + resp("HGETALL", key) +
                   resp("OBJECT", "ENCODING", key))
        confirm = resp("EVAL", LUA_CONFIRM_EXPOSURE, 1, key, field, b"linecreabra", TTL, 0)
        return (read, 1), (reserve, 3), (confirm, 1), (resp("HDEL", key, field), 1)


class Counters:
    name = "counters"

    def shown(self, n, i, caps):
        key = person(n) + b"c"
        bucket = i % 4  # exposures of different hours fall into different buckets
        out = b"".join(resp("HINCRBY", key, struct.pack(">HH", cap, bucket), 1)
                       for cap in range(caps))
        return out + resp("EXPIRE", key, TTL, "NX"), caps + 1

    def decision(self, n, i, caps):
        key, profile = person(n) + b"c", person(n) + b"p"
        pending = b"r" + struct.pack(">II", NOW, i)
        names = [struct.pack(">HH", cap, 0) for cap in range(caps)]
        read = resp("HGETALL", key) + resp("HGETALL", profile)
        reserve = b"".join(resp("HINCRBY", key, name, 1) for name in names)
        reserve += resp("HSET", key, pending, "60") + resp("EXPIRE", key, TTL, "GT")
        undo = b"".join(resp("HINCRBY", key, name, -1) for name in names)
        return (read, 2), (reserve, caps + 2), (resp("HDEL", key, pending), 1), (undo, caps)


class Packed:
    name = "packed"

    def prepare(self, redis):
        self.reserve = redis.call("SCRIPT", "LOAD", LUA)
        self.confirm = redis.call("SCRIPT", "LOAD", LUA_CONFIRM)

    def shown(self, n, i, caps):
        return resp("APPEND", person(n) + b"c", struct.pack(">IHB", NOW - i, n & 65535, i & 255) +
                    b"linecreab\0\0") + resp("EXPIRE", person(n) + b"c", TTL, "NX"), 2

    def decision(self, n, i, caps):
        key, profile = person(n) + b"c", person(n) + b"p"
        name = struct.pack(">IHB", NOW, i >> 8 & 65535, i & 255)
        read = resp("GET", key) + resp("HGETALL", profile)
        reserve = resp("EVALSHA", self.reserve, 1, key, NOW, 1000000, TTL, name + b"linecreab\0\x3c",
                       TTL)
        confirm = resp("EVALSHA", self.confirm, 1, key, name)
        trim = resp("SETRANGE", key, 0, b"")  # keeps the work per round comparable
        return (read, 2), (reserve, 1), (confirm, 1), (trim, 1)


def memory(redis, design, persons, caps, exposures):
    redis.call("FLUSHALL")
    time.sleep(0.2)
    before = redis.info("memory", "used_memory")
    for start in range(0, persons, 200):
        out, replies = [], 0
        for n in range(start, min(start + 200, persons)):
            for i in range(exposures):
                command, count = design.shown(n, i, caps)
                out.append(command)
                replies += count
        redis.pipeline(b"".join(out), replies)
    for _ in range(100):  # until the key table has its size
        redis.call("PING")
    return (redis.info("memory", "used_memory") - before) / persons


def cpu(redis, design, decisions, caps, exposures):
    """Redis CPU in microseconds of reads, reserves and confirms, with 4 exposures known."""
    redis.call("FLUSHALL")
    persons = 5000
    for n in range(persons):
        for i in range(exposures):
            command, count = design.shown(n, i, caps)
            redis.pipeline(command, count)
    spent = [0.0, 0.0, 0.0]
    for step in range(4):
        sent = 0
        began = redis.cpu()
        while sent < decisions:
            out, replies = [], 0
            for k in range(32):  # as many auctions go out in one loop turn under load
                command, count = design.decision((sent + k) % persons, (sent + k) // persons,
                                                 caps)[step]
                out.append(command)
                replies += count
            redis.pipeline(b"".join(out), replies)
            sent += 32
        if step < 3:
            spent[step] = (redis.cpu() - began) / sent * 1e6
    return spent


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=50000)
    parser.add_argument("--decisions", type=int, default=20000)
    args = parser.parse_args()
    redis = Redis()
    try:
        designs = [Exposures(), Counters(), Packed()]
        designs[2].prepare(redis)
        print(f"Bytes per person, {args.persons} persons, all of Redis's own overhead included\n")
        print("| design | caps | 1 exposure | 2 | 4 |\n|---|---|---|---|---|")
        for design in designs:
            for caps in (1, 4, 8, 16) if design.name == "counters" else ("any",):
                row = [memory(redis, design, args.persons, caps, e) for e in (1, 2, 4)]
                print(f"| {design.name} | {caps} | " + " | ".join(f"{b:.0f}" for b in row) + " |",
                      flush=True)
        print("\nRedis CPU, microseconds, 4 exposures known\n")
        print("| design | caps | read | reserve | confirm | all |\n|---|---|---|---|---|---|")
        for design in designs:
            for caps in (1, 4, 8, 16) if design.name == "counters" else ("any",):
                spent = cpu(redis, design, args.decisions, caps, 4)
                print(f"| {design.name} | {caps} | " + " | ".join(f"{s:.2f}" for s in spent) +
                      f" | {sum(spent):.2f} |", flush=True)
    finally:
        redis.stop()


if __name__ == "__main__":
    main()
