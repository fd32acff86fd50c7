"""The process that fine-tunes: material in, results out, until the other end is gone.

Messages are parcels; what goes over the socket is their descriptors. Started as `trainer_child.py SOCKET MEMORY
DEVICE`: the number of the socket's descriptor, the bytes that the process may take on top of what its libraries take,
and where it computes.
"""

import contextlib
import os
import queue
import resource
import socket
import sys
import threading

__all__ = ["BEGIN", "DONE", "MOST_BYTES", "NICENESS", "main"]

NICENESS = 10
"""Below the service, which must answer while this process computes."""
MOST_BYTES = 2**30
"""Of one message: material and results of the largest settings that make sense take some hundred MB."""
BEGIN, DONE = b"b", b"d"


def main() -> None:
    """Serve until the service closes the socket, or is gone, which closes it too."""
    step_back()
    ends = socket.socket(fileno=int(sys.argv[1]))
    requests: queue.SimpleQueue[int] = queue.SimpleQueue()
    # Read in a thread of its own, so that the end of the service is noticed in the middle of a fine-tune.
    threading.Thread(target=_receive, args=(ends, requests), daemon=True).start()
    _serve(requests, ends, int(sys.argv[2]), sys.argv[3])


def step_back() -> None:
    """Let everybody else compute first.

    Linux shares the processors out between sessions before it looks at how nice the processes of each are (sched(7),
    "The autogroup feature"), where that is switched on; so a session of our own has to be as nice.
    """
    os.nice(NICENESS)
    if os.getsid(0) == os.getpid():  # what is said here is said of a whole session
        with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as autogroup:
            autogroup.write(str(NICENESS))


def _receive(ends: socket.socket, requests: "queue.SimpleQueue[int]") -> None:
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(ends, len(BEGIN), 1)
        except OSError:  # the service is gone and has left a result unread
            message = b""
        if not message:
            os._exit(0)
        requests.put(descriptors[0])


def _serve(requests: "queue.SimpleQueue[int]", ends: socket.socket, memory_bytes: int, device_name: str) -> None:
    import torch

    from stepahead.learning.tuner import tune
    from stepahead.network.device import device_of
    from stepahead.service.parcel import pack, unpack
    from stepahead.service.tuning_message import material_of, result_parts

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.optim.AdamW([torch.zeros(1)])  # the first one imports another hundred megabytes of PyTorch
    device = device_of(device_name)
    if device.type == "cuda":  # the limit of a process would also count what CUDA maps into it
        whole_bytes = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, memory_bytes / whole_bytes), device)
    else:
        bound_memory(memory_bytes)
    while True:
        received = requests.get()
        failed = False
        try:
            material, settings = material_of(*unpack(received, MOST_BYTES))
            parts = result_parts(tune(material.request(), settings, device=device))
        except (MemoryError, RuntimeError) as error:  # PyTorch has no error of its own for want of memory
            parts, failed = ({"failed": f"{type(error).__name__}: {error}".splitlines()[0]}, {}), True
        finally:
            os.close(received)
        answer = pack(*parts, MOST_BYTES)
        socket.send_fds(ends, [DONE], [answer])
        os.close(answer)
        if failed:
            sys.exit(1)


def bound_memory(more_bytes: int) -> None:
    """Let this process have so many bytes more than it has now, of heap and private mappings: Linux counts them."""
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            most = int(file.read().split()[5]) * resource.getpagesize() + more_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main()
