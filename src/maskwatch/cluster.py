"""Join a Ray cluster, or start one of this machine's own: quietly, and with errors in one sentence."""

from __future__ import annotations

import logging
import os
import socket

from maskwatch.addresses import redact
from maskwatch.errors import MissingExtraError, SourceError

ANSWER_WITHIN_S = 5.0


def join_cluster(task: str, address: str | None, cpus: int | None = None) -> int:
    """Connect this process to the cluster at `address`, or (None) to a new one of `cpus` CPUs here.

    Returns the number of its CPUs. A new one listens on this machine's loopback address only.

    Raises:
        MissingExtraError: Ray is not installed; `task` is what needs it.
        SourceError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # 1 is on its way out, and warns
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters to users is raised here
    if address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # its name for "only loopback"
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.for_extra(task, "Ray", "batch") from error
    try:
        if address is not None:
            _check_that_it_answers(address)
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        elif not ray.is_initialized():
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    except (OSError, RuntimeError, ValueError) as error:
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            f"{redact(address) if address else 'Ray'}: no cluster can be joined ({words}); start one with "
            "`ray start --head`"
        ) from error
    return int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]


def _check_that_it_answers(address: str) -> None:
    """Ray ends the whole process when nobody answers at HOST:PORT, so this is asked first.

    Raises:
        OSError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        return
    with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_WITHIN_S):
        pass
