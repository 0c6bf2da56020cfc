"""Starts the bidder for a measurement: own Redis, own catalog, own folder."""
import dataclasses
import time

import catalog_gen
import servers
from servers import RELEASE, SERVER_CORE


@dataclasses.dataclass
class Started:
    process: servers.Process
    redis: servers.Redis
    url: str
    metrics_url: str
    ready_s: float
    catalog_bytes: int


def start(bench, stack, lines):
    """None, with a word, while there is no bidder to measure."""
    program = RELEASE / "jointcap"
    if not program.exists():
        bench.say(f"  {program} is not built, left out")
        return None
    return None
