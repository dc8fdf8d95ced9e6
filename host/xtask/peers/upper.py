"""The task, for Celery: the module that its workers import."""

import os

from celery import Celery

url = os.environ["PEER_REDIS"]
app = Celery("upper", broker=f"{url}/0", backend=f"{url}/1")
app.conf.update(
    # What Celery's own guide says of many short tasks: take many at a time, acknowledge early (the
    # default), count no rates, send no events.
    worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
)


@app.task(name="upper")
def upper(text):
    return text.upper()
