"""What is measured of a system that runs tasks, the same for each; `cargo xtask bench net` reads it.

Each line on stdout is a JSON object. `begin` and `end` of a phase let the reader look at the
processor time of the processes below this one, which are the system; this one is the load.

- `low`: one task at a time.
- `saturation`: as many in flight as `--flight` says.
- `half`: tasks come at half the rate of saturation, whether or not those before are done; times
  count from when a task was due.
- `same`: the same at `--rate`, which is one for all systems.
"""

import argparse
import importlib.metadata
import json
import time


def asked():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--flight", type=int, default=128)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--redis")
    parser.add_argument("--durable", action="store_true")
    return parser.parse_args()


def tell(**fields):
    print(json.dumps(fields), flush=True)


def versions(*names):
    return {name: importlib.metadata.version(name) for name in names}


class Texts:
    """Inputs, each another one, and the check of what came back."""

    def __init__(self):
        self.number = 0
        self.checked = 0

    def next(self):
        self.number += 1
        return f"the task with the number {self.number}"

    def check(self, text, output):
        if output != text.upper():
            raise SystemExit(f"{text!r} came back as {output!r}")
        self.checked += 1


def phase(name, work):
    """Runs `work`, which returns the time of each task in seconds."""
    tell(event="begin", phase=name)
    begun = time.perf_counter()
    times = sorted(work())
    seconds = time.perf_counter() - begun
    if not times:
        raise SystemExit(f"no task was done in the phase {name}")
    at = lambda share: times[min(int(len(times) * share), len(times) - 1)] * 1000
    tell(
        event="end",
        phase=name,
        count=len(times),
        seconds=seconds,
        p50_ms=at(0.5),
        p99_ms=at(0.99),
    )
    return len(times) / seconds


def low(system, texts, seconds):
    """One task at a time, by what a user of the system writes for that."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        text = texts.next()
        begun = time.perf_counter()
        output = system.one(text)
        times.append(time.perf_counter() - begun)
        texts.check(text, output)
    return times


def steady(system, texts, rate, seconds):
    """Tasks at a steady rate. `system.submit(text, done)` calls `done(output)` from `system.pump`,
    or from another thread."""
    times, started = [], 0
    begun = time.perf_counter()

    def submit(due):
        text = texts.next()

        def done(output):
            times.append(time.perf_counter() - due)
            texts.check(text, output)

        system.submit(text, done)

    while (now := time.perf_counter() - begun) < seconds:
        while started / rate <= now:
            submit(begun + started / rate)
            started += 1
        system.pump(min(0.001, max(0.0, started / rate - (time.perf_counter() - begun))))
    patience = time.perf_counter() + 60
    while len(times) < started:
        if time.perf_counter() > patience:
            raise SystemExit(f"{started - len(times)} tasks have no result after a minute")
        system.pump(0.001)
    return times


def run(system, args, named):
    texts = Texts()
    # Workers, connections, caches of all kinds.
    system.saturate(texts, args.flight, 2)
    low(system, texts, 0.5)
    tell(event="ready", versions=named)
    phase("low", lambda: low(system, texts, args.seconds))
    rate = phase("saturation", lambda: system.saturate(texts, args.flight, args.seconds))
    phase("half", lambda: steady(system, texts, rate / 2, args.seconds))
    phase("same", lambda: steady(system, texts, args.rate, args.seconds))
    tell(event="checked", outputs=texts.checked)
