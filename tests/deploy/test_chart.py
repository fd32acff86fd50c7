"""The chart, rendered by Helm's own library and held against Kubernetes' schemas."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import kubernetes_validate
import pytest
import yaml

from stepahead.service.configuration import load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "stepahead"
KUBERNETES = ("1.27", "1.33")

FULL: dict[str, Any] = {
    "image": {"repository": "plant.example/stepahead", "tag": "1", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "plant"}],
    "settings": '[broker]\nurl = "mqtts://broker:8883"\nusername = "stepahead"\n',
    "passwordSecret": "mqtt",
    "tokenSecret": "page",
    "persistence": {"size": "20Gi", "storageClass": "fast"},
    "scrapeAnnotations": False,
    "podLabels": {"team": "plant"},
    "podAnnotations": {"note": "yes"},
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"key": "edge", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}


@pytest.fixture(scope="module")
def renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", DEPLOY / "helm" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def objects(text: str) -> dict[str, dict[str, Any]]:
    return {document["kind"]: document for document in yaml.safe_load_all(text) if document is not None}


def test_the_committed_manifests_are_the_rendered_chart(renderer: ModuleType) -> None:
    expected = renderer.HEAD + renderer.render({})
    committed = (DEPLOY / "kubernetes" / "stepahead.yaml").read_text()
    assert committed == expected, "run: python deploy/helm/render.py > deploy/kubernetes/stepahead.yaml"


@pytest.mark.parametrize("values", [{}, FULL], ids=["as it is", "everything set"])
def test_kubernetes_takes_every_object(renderer: ModuleType, values: dict[str, Any]) -> None:
    found = objects(renderer.render(values, "line-1"))
    assert list(found) == ["ConfigMap", "Service", "StatefulSet"]
    for document in found.values():
        assert document["metadata"]["name"] == "line-1-stepahead"
        for version in KUBERNETES:
            kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_are_ones_that_refuse(renderer: ModuleType) -> None:
    document = objects(renderer.render({}))["StatefulSet"]
    document["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, KUBERNETES[-1], strict=True)


def test_everything_that_is_set_arrives(renderer: ModuleType, tmp_path: Path) -> None:
    found = objects(renderer.render(FULL))
    pod = found["StatefulSet"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "plant.example/stepahead:1"
    assert pod["metadata"]["labels"]["team"] == "plant"
    assert "prometheus.io/scrape" not in pod["metadata"]["annotations"]
    for key in ("imagePullSecrets", "nodeSelector", "tolerations", "affinity"):
        assert pod["spec"][key] == FULL[key]
    (claim,) = found["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    secrets = {v["name"]: v["secret"]["secretName"] for v in pod["spec"]["volumes"] if "secret" in v}
    assert secrets == {"password": "mqtt", "token": "page"}
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment == {
        "STEPAHEAD_BROKER__PASSWORD_FILE": f"{mounts['password']}/password",
        "STEPAHEAD_HTTP__TOKEN_FILE": f"{mounts['token']}/token",
    }
    assert found["ConfigMap"]["data"]["stepahead.toml"] == FULL["settings"].rstrip("\n") + "\n"


def test_the_settings_of_the_chart_are_settings_and_are_read_from_where_they_are_mounted(
    renderer: ModuleType, tmp_path: Path
) -> None:
    found = objects(renderer.render({}))
    file = tmp_path / "stepahead.toml"
    file.write_text(found["ConfigMap"]["data"]["stepahead.toml"])
    assert load_settings(file, {}, {}).broker.url == "mqtt://mosquitto:1883"
    (container,) = found["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["args"] == ["run", "--config", f"{mounts['settings']}/stepahead.toml"]


def test_pod_and_image_agree(renderer: ModuleType) -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    pod = objects(renderer.render({}))["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    user = pod["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}\n" in dockerfile
    assert f"EXPOSE {container['ports'][0]['containerPort']}\n" in dockerfile
    assert f"VOLUME {next(m['mountPath'] for m in container['volumeMounts'] if m['name'] == 'state')}\n" in dockerfile
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    # Variables made from names of services would be taken for settings: STEPAHEAD_SERVICE_HOST is none.
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize(
    "values",
    [{"imgae": {}}, {"persistence": {"size": "much"}}, {"image": {"pullPolicy": "Sometimes"}}, {"settings": {"a": 1}}],
)
def test_a_wrong_value_is_refused(renderer: ModuleType, values: dict[str, Any]) -> None:
    with pytest.raises(renderer.helm_python.HelmError, match=r"values|schema"):
        renderer.render(values)


def test_every_value_is_explained() -> None:
    lines = [*(CHART / "values.yaml").read_text().splitlines(), ""]
    tops = [i for i, line in enumerate(lines) if re.match(r"[a-z]\w*:", line)]
    explained = [i for i in tops if re.match(r"\s*#", lines[i - 1]) or re.match(r"\s+#", lines[i + 1])]
    # Where a pod runs stands under one comment.
    assert [lines[i] for i in tops if i not in explained] == [
        "podAnnotations: {}",
        "nodeSelector: {}",
        "tolerations: []",
        "affinity: {}",
    ]


def test_the_charts_version_is_ours() -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == project["version"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert compose["services"]["stepahead"]["image"] == f"stepahead:{project['version']}"
