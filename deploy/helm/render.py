"""Prints the chart rendered with its values as they are, for those without Helm: deploy/kubernetes/stepahead.yaml.

Run: `python deploy/helm/render.py > deploy/kubernetes/stepahead.yaml`. It is Helm's own library that renders; where its
wheel is not to be had, `helm template stepahead deploy/helm/stepahead` gives the same objects.
"""

import sys
from pathlib import Path
from typing import Any

import helm_python

__all__ = ["render"]

CHART = Path(__file__).parent / "stepahead"
HEAD = """\
# Made by `python deploy/helm/render.py` from the chart in deploy/helm: change that instead, or edit a copy of this.
# What is yours to set: the image's name, and the settings in the ConfigMap.
"""


def render(values: dict[str, Any], name: str = "stepahead") -> str:
    """All objects as one YAML stream, in the order in which they can be applied.

    Raises:
        helm_python.HelmError: the values are against values.schema.json, or the chart is wrong.
    """
    with helm_python.Chart.load(str(CHART)) as chart:
        manifests = chart.render(values, name=name, namespace="default")
    parts = [manifests[path].strip() for path in sorted(manifests) if manifests[path].strip()]
    text = "---\n" + "\n---\n".join(parts) + "\n"
    lines = (line.rstrip() for line in text.splitlines() if "app.kubernetes.io/managed-by" not in line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(HEAD + render({}))
