"""Celery with Redis as broker and store of results, on this machine, measured.

Two processes of the prefork pool. Results come by Redis' publications, as `result.get()` has them
come, and not by asking again and again.
"""

import os
import signal
import socket
import subprocess
import sys
import time

import measure


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def start_redis(args, port):
    command = [args.redis, "--bind", "127.0.0.1", "--port", str(port), "--dir", args.folder]
    if args.durable:
        command += ["--appendonly", "yes", "--appendfsync", "always"]
    log = open(os.path.join(args.folder, "redis.log"), "w")
    return subprocess.Popen(command, stdout=log, stderr=log, env=with_libraries(args))


def with_libraries(args):
    # What Debian's program needs beyond Debian's base lies beside it.
    return {**os.environ, "LD_LIBRARY_PATH": os.path.dirname(args.redis)}


def redis_version(args):
    command = [args.redis, "--version"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, env=with_libraries(args), check=True)
    return answer.stdout.decode().split("v=")[1].split()[0]


def start_worker(args):
    command = [sys.executable, "-m", "celery", "-A", "upper", "worker"]
    command += ["--pool", "prefork", "--concurrency", "2", "--loglevel", "WARNING"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    log = open(os.path.join(args.folder, "celery.log"), "w")
    return subprocess.Popen(command, stdout=log, stderr=log)


class System:
    def __init__(self):
        import upper

        self.task = upper.upper
        self.results = upper.app.backend.result_consumer

    def one(self, text):
        return self.task.delay(text).get(timeout=60)

    def submit(self, text, done):
        result = self.task.delay(text)
        result.then(lambda result: done(result.result))

    def pump(self, wait):
        # What `get` calls while it waits: all results that come are given to whom they are for.
        self.results.drain_events(timeout=max(wait, 0.0001))

    def saturate(self, texts, flight, seconds):
        times, open_tasks = [], 0
        end = time.perf_counter() + seconds

        def submit():
            nonlocal open_tasks
            text, begun = texts.next(), time.perf_counter()

            def done(output):
                nonlocal open_tasks
                open_tasks -= 1
                times.append(time.perf_counter() - begun)
                texts.check(text, output)

            open_tasks += 1
            self.submit(text, done)

        while time.perf_counter() < end:
            while open_tasks < flight and time.perf_counter() < end:
                submit()
            self.pump(1)
        patience = time.perf_counter() + 60
        while open_tasks:
            if time.perf_counter() > patience:
                raise SystemExit(f"{open_tasks} tasks have no result after a minute")
            self.pump(1)
        return times


def wait_for(port, redis):
    patience = time.perf_counter() + 60
    while time.perf_counter() < patience and redis.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("redis-server does not start; see redis.log")


def main():
    args = measure.asked()
    port = free_port()
    os.environ["PEER_REDIS"] = f"redis://127.0.0.1:{port}"
    ours = []
    try:
        ours.append(start_redis(args, port))
        wait_for(port, ours[0])
        ours.append(start_worker(args))
        named = measure.versions("celery", "kombu", "redis", "hiredis")
        named["redis-server"] = redis_version(args)
        measure.run(System(), args, named)
    finally:
        for child in reversed(ours):
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


main()
