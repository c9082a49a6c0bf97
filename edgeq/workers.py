"""Work on several processes or machines: by Dask (extra ``cluster``), or here where nobody asks for more than one worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from edgeq.errors import EdgeqError

WAIT = 10  # seconds until a scheduler that does not answer counts as lost
Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]


@contextmanager
def spread(workers: int | str = 1) -> Iterator[Spread]:
    """A function as `map`: it gives results in the order of the items, computed by the workers.

    Args:
        workers: processes on this computer, or ``HOST:PORT`` of a Dask scheduler whose workers have this version of edgeq.

    Raises:
        EdgeqError: Dask is not installed, or the scheduler does not answer.
    """
    if workers == 1:
        yield map
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError as e:
        fix = "pip install 'edgeq[cluster]', or leave --workers out"
        raise EdgeqError("several workers need Dask, which is not installed", fix=fix) from e
    if isinstance(workers, str):
        try:
            client = Client(workers if "://" in workers else f"tcp://{workers}", timeout=WAIT)
        except (OSError, ValueError) as e:
            raise EdgeqError("no Dask scheduler answers", where=workers, why=str(e)[:200], fix="start one: dask scheduler") from e
        with client:
            yield _by(client)
        return
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        Client(cluster) as client,
    ):
        yield _by(client)


def _by(client: Any) -> Spread:
    from distributed.client import CancelledError
    from distributed.scheduler import KilledWorker

    def run(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        for future in client.map(function, items, pure=False):
            try:
                result = future.result()
            except (CancelledError, KilledWorker) as e:
                fix = "start again, what is done is kept; or with fewer workers"
                raise EdgeqError("a worker was lost", why=str(e)[:200], fix=fix) from e
            yield result

    return run
