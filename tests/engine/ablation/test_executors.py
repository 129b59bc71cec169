"""Where cells are trained."""

import time

from engine.ablation.executors import LocalExecutor


def test_a_machine_that_sleeps_loses_no_worker():
    """After an hour Dask's scheduler has not heard of a worker for an hour either."""
    with LocalExecutor(1, 1).connect(1, print) as found:
        scheduler = found.client.cluster.scheduler

        async def awake():
            for worker in scheduler.workers.values():
                worker.last_seen = time.time() - 3600
            if "worker-ttl" in scheduler.periodic_callbacks:
                await scheduler.check_worker_ttl()

        found.client.sync(awake)
        assert len(found.client.scheduler_info()["workers"]) == 1
