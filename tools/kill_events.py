"""Kill `liquidvision infer --save-intervals --event-log --webhook` while it works, resume it, and count what is lost.

python tools/kill_events.py --kills 100

A series of runs writes into one folder, each with --resume: all but the last are killed (SIGKILL) at a random moment.
The runs are children forked from a process that has the model loaded. They report through a pipe each interval and
each event that was written. After a kill, everything that was reported must be on the disk. After a series, the
intervals, the log, and what a web server got must be those of an undisturbed run: nothing lost, nothing twice. A
message that the server got just before a kill could be noted may come again, with the same key: that is counted apart.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a process with threads cannot be forked

from liquidvision import Model
from liquidvision.inference.interval_records import IntervalRecordSink
from liquidvision.triggers.event_log import EventLog
from tools import forked
from tools.tiny import warm_up

SAMPLE = Path(__file__).parents[1] / "samples" / "actions.mp4"
RULES = (*("--on", "walk: walks right > .6 or walks left > .6", "--on", "holds still"), *("--on", "waves for 500 ms"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--series", type=int, default=10, help="kills before a run may end")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = Model.from_pretrained("actions", device="cpu")
    warm_up(model)
    forked.prepare()
    dice, kills, again, faults = random.Random(options.seed), 0, 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        whole = Series(model, Path(folder) / "whole")
        whole.run(None)
        seconds, expected = time.monotonic() - started, whole.results()
        whole.close()
        number = 0
        while kills < options.kills:
            series = Series(model, Path(folder) / str(number))
            for _ in range(min(options.series, options.kills - kills)):
                killed = series.run(dice.uniform(0.05, 0.7) * seconds)
                kills += killed
                if not killed:  # it was quicker, and is complete
                    break
            series.run(None)
            found = series.results()
            series.close()
            faults += [f"series {number}: {fault}" for fault in series.faults]
            faults += [
                f"series {number}: {what} are {found[what]}, not {expected[what]}"
                for what in expected
                if found[what] != expected[what]
            ]
            again += series.repeated
            number += 1
            print(f"{kills} kills, {len(faults)} faults, {again} messages with a known key again", flush=True)
    counts = ", ".join(f"{len(rows)} {what}" for what, rows in expected.items())
    print(f"an undisturbed run: {counts}")
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


class Series:
    """Runs that continue each other, and a web server that gets their events.

    Attributes:
        faults: what was on the disk too little after a kill.
        repeated: messages that the server got again.
    """

    def __init__(self, model: Model, folder: Path) -> None:
        folder.mkdir()
        self._model, self._folder, self.faults, self.repeated = model, folder, list[str](), 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._server = forked.start(self._serve, folder / "server.out", folder / "server.err")

    def _serve(self) -> int:
        """In a child: append the key of each message to a file."""
        keys = (self._folder / "keys").open("a", buffering=1)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                keys.write(self.headers["Idempotency-Key"] + "\n")
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        HTTPServer(("127.0.0.1", self._port), Handler).serve_forever()
        return 0

    def run(self, after: float | None) -> bool:
        """Run until the end, or until a kill after some seconds; return whether it was killed."""
        reading, writing = os.pipe()
        child = forked.start(lambda: self._infer(writing), self._folder / "stdout", self._folder / "stderr")
        os.close(writing)
        deadline = None if after is None else time.monotonic() + after
        while not forked.ended(child) and (deadline is None or time.monotonic() < deadline):
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with open(reading, encoding="utf-8") as pipe:
            reported = pipe.read().splitlines()
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"the run failed: {(self._folder / 'stderr').read_text()}")
        on_disk = {f"event {key}" for key in self._log()} | {f"interval {row}" for row in self._rows(killed=code != 0)}
        self.faults += [f"{line} was written, and is gone" for line in reported if line not in on_disk]
        for part in self._folder.glob("rows.part*.csv"):
            part.unlink()
        return code != 0

    def _infer(self, writing: int) -> int:
        """In a child: run the command; it reports each interval and event that it has written."""
        Model.from_pretrained = classmethod(lambda *_, **__: self._model)  # type: ignore[method-assign, assignment]
        write_interval, write_event = IntervalRecordSink.write, EventLog.write

        def interval(sink: IntervalRecordSink, each: Any) -> None:
            write_interval(sink, each)
            os.write(writing, f"interval {each.label} {each.start:.6f}\n".encode())

        def event(log: EventLog, each: Any) -> None:
            write_event(log, each)
            os.write(writing, f"event {each.key}\n".encode())

        IntervalRecordSink.write, EventLog.write = interval, event  # type: ignore[method-assign]
        own, hook = self._folder, f"http://127.0.0.1:{self._port}/"
        outputs = ("--save-intervals", own / "rows.csv", "--event-log", own / "log.jsonl", "--webhook", hook)
        more = ("--event-queue", own / "queue.sqlite", "--resume", "--no-save", "-q")
        return forked.command("infer", SAMPLE, "-m", "actions", *RULES, *outputs, *more)

    def _rows(self, *, killed: bool) -> list[str]:
        """Return label and start of each interval; after a kill, of the temporary file."""
        parts = sorted(self._folder.glob("rows.part*.csv")) if killed else [self._folder / "rows.csv"]
        with parts[-1].open(newline="") if parts else open(os.devnull) as file:
            return [f"{row['label']} {float(row['start']):.6f}" for row in csv.DictReader(file) if row["label"]]

    def _log(self) -> list[str]:
        path = self._folder / "log.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [f"{row['id']}-{row['phase']}" for row in map(json.loads, lines)]

    def results(self) -> dict[str, list[str]]:
        """Return what the runs have written, and what the server got, each key once."""
        keys = (self._folder / "keys").read_text().split()
        self.repeated = len(keys) - len(set(keys))
        return {"intervals": self._rows(killed=False), "events": self._log(), "messages": list(dict.fromkeys(keys))}

    def close(self) -> None:
        """End the web server."""
        os.kill(self._server, signal.SIGKILL)
        os.waitpid(self._server, 0)


if __name__ == "__main__":
    main()
