"""Ray on this machine, measured: tasks of a remote function on two processors.

At saturation, results are fetched in batches by `ray.get`, which Ray's own guide recommends over
asking for one at a time.
"""

import collections
import logging
import os
import queue
import threading
import time

import measure

# Reports of use would go out to the network.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray

BATCH = 16


class System:
    def __init__(self, folder):
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=100 << 20,
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
        )

        @ray.remote
        def upper(text):
            return text.upper()

        self.task = upper
        self.open = queue.SimpleQueue()
        threading.Thread(target=self.collect, daemon=True).start()

    def one(self, text):
        return ray.get(self.task.remote(text))

    def collect(self):
        while True:
            reference, done = self.open.get()
            done(ray.get(reference))

    def submit(self, text, done):
        self.open.put((self.task.remote(text), done))

    def pump(self, wait):
        # Results come on a thread of their own. Ray's futures with callbacks are ten times slower.
        time.sleep(wait)

    def saturate(self, texts, flight, seconds):
        times, batches = [], collections.deque()
        end = time.perf_counter() + seconds

        def fetch():
            begun, inputs, references = batches.popleft()
            outputs = ray.get(references)
            now = time.perf_counter()
            for text, output in zip(inputs, outputs):
                times.append(now - begun)
                texts.check(text, output)

        while time.perf_counter() < end:
            while len(batches) * BATCH < flight:
                inputs = [texts.next() for _ in range(BATCH)]
                begun = time.perf_counter()
                batches.append((begun, inputs, [self.task.remote(text) for text in inputs]))
            fetch()
        while batches:
            fetch()
        return times


def main():
    args = measure.asked()
    try:
        measure.run(System(args.folder), args, measure.versions("ray"))
    finally:
        ray.shutdown()


main()
