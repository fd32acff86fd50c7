"""Several Ray nodes on loopback, in a process of their own: `add` and `kill NODE` on standard input, answers on output.

Run: `python -m tests.cluster.nodes NODES`
"""

import json
import os
import sys
from typing import Any

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback, as `cluster run` does for a Ray of its own
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster  # looks at the environment when it is imported

START_S = 300.0
NODE = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}


class PatientCluster(Cluster):  # type: ignore[misc]
    """Ray's own gives a node half a minute to come up."""

    def _wait_for_node(self, node: Any, timeout: float = START_S) -> None:
        super()._wait_for_node(node, timeout)


def main() -> None:
    cluster = PatientCluster(initialize_head=True, head_node_args={**NODE, "node_ip_address": "127.0.0.1"})
    nodes = {}

    def add() -> str:
        node = cluster.add_node(node_ip_address="127.0.0.1", **NODE)
        nodes[node.node_id] = node
        return str(node.node_id)

    for _ in range(int(sys.argv[1]) - 1):
        add()
    tell({"address": cluster.address, "nodes": list(nodes)})
    for line in sys.stdin:
        command, _, node = line.strip().partition(" ")
        if command == "add":
            tell({"node": add()})
        elif command == "kill":
            cluster.remove_node(nodes.pop(node), allow_graceful=False)
            tell({"killed": node})
    cluster.shutdown()


def tell(answer: dict[str, object]) -> None:
    print(json.dumps(answer), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
