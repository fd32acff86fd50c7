"""The process that fine-tunes: requests on standard input, results on standard output, until the input ends."""

import os
import queue
import sys
import threading
from typing import IO, Any

__all__ = ["NICENESS", "main"]

NICENESS = 10
"""Below the service, which must answer while this process computes."""


def main() -> None:
    """Serve requests until the parent closes the pipe, or is gone, which closes it too."""
    results = os.fdopen(os.dup(1), "wb")
    # What a library prints must not end up between two results.
    os.dup2(2, 1)
    os.nice(NICENESS)
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # Read in a thread of its own, so that the end of the parent is noticed in the middle of a fine-tune.
    threading.Thread(target=_receive, args=(sys.stdin.buffer, requests), daemon=True).start()
    _serve(requests, results)


def _receive(file: IO[bytes], requests: "queue.SimpleQueue[Any]") -> None:
    from stepahead.service.tuning_message import read_message

    try:
        while True:
            requests.put(read_message(file))
    except EOFError:
        os._exit(0)


def _serve(requests: "queue.SimpleQueue[Any]", results: IO[bytes]) -> None:
    import torch

    from stepahead.learning.tuner import tune
    from stepahead.service.tuning_message import request_of, result_parts, write_message

    torch.set_num_threads(1)
    while True:
        request, settings = request_of(*requests.get())
        write_message(results, *result_parts(tune(request, settings)))


if __name__ == "__main__":
    main()
