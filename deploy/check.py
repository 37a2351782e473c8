"""Holds what the schemas cannot: the security contexts of the rendered manifests, names that must exist, and what the
agent may see.

Usage: check.py RENDERED.yaml. Prints what is wrong, one line each, and exits 1 if anything is.
"""

import sys
import tomllib

import yaml

import agent
import server
from agent import AGENT


def pods(documents):
    for doc in documents:
        if doc["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}:
            yield doc["metadata"]["name"], doc["spec"]["template"]["spec"]


def faults_of_container(owner, spec, container):
    name = f"{owner}/{container['name']}"
    context = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{name}: the root file system is writable"
    if context.get("privileged"):
        yield f"{name}: privileged"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{name}: seccomp profile is not RuntimeDefault"
    capabilities = context.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"]:
        yield f"{name}: does not drop ALL capabilities"
    allowed = ["DAC_READ_SEARCH"] if owner == AGENT else []
    if capabilities.get("add", []) != allowed:
        yield f"{name}: adds capabilities {capabilities.get('add')}, allowed are {allowed}"
    if owner != AGENT and context.get("runAsNonRoot") is not True:
        yield f"{name}: may run as root"
    if "limits" not in container.get("resources", {}):
        yield f"{name}: has no memory limit"
    for probe in ("readinessProbe", "livenessProbe"):
        if probe not in container:
            yield f"{name}: lacks a {probe}"
        elif container[probe]["httpGet"].get("scheme") != "HTTPS":
            yield f"{name}: its {probe} asks in plain text"


def faults_of_pod(owner, spec):
    if owner != AGENT and spec.get("automountServiceAccountToken") is not False:
        yield f"{owner}: mounts a service account token that it does not use"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{owner}: {field}"
    host_paths = {v["name"]: v["hostPath"]["path"] for v in spec.get("volumes", []) if "hostPath" in v}
    if owner != AGENT and host_paths:
        yield f"{owner}: mounts the node's {sorted(host_paths.values())}"
    for container in spec["containers"]:
        yield from faults_of_container(owner, spec, container)


def faults_of_certificates(documents):
    """Each container has a Secret of its own where its configuration looks for certificates."""
    for owner, spec in pods(documents):
        secrets = {v["name"]: v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v}
        for container in spec["containers"]:
            at = [m["name"] for m in container["volumeMounts"] if m["mountPath"] == "/run/heliograph/tls"]
            wanted = f"heliograph-tls-{container['name']}"
            if [secrets.get(name) for name in at] != [wanted]:
                yield f"{owner}/{container['name']}: {wanted} is not mounted"


def faults_of_plain_text(documents):
    for doc in (d for d in documents if d["kind"] == "ConfigMap"):
        settings = tomllib.loads(doc["data"]["heliograph.toml"])
        for role in ("agent", "indexer", "query"):
            if role in settings and "cert_file" not in settings[role].get("tls", {}):
                yield f"{doc['metadata']['name']}: the port of {role} has no TLS"


def faults_of_names(documents):
    """Old versions of kustomize leave some references to generated names as they were written."""
    maps = {d["metadata"]["name"] for d in documents if d["kind"] == "ConfigMap"}
    # Kubernetes puts it into each namespace itself.
    maps.add("kube-root-ca.crt")
    for owner, spec in pods(documents):
        for volume in spec.get("volumes", []):
            sources = [volume, *volume.get("projected", {}).get("sources", [])]
            for name in (s["configMap"]["name"] for s in sources if "configMap" in s):
                if name not in maps:
                    yield f"{owner}: mounts the ConfigMap {name}, which is not rendered"


def read(path):
    with open(path, encoding="utf-8") as file:
        return [d for d in yaml.safe_load_all(file) if d]


def faults(documents):
    for owner, spec in pods(documents):
        yield from faults_of_pod(owner, spec)
    yield from faults_of_names(documents)
    yield from faults_of_certificates(documents)
    yield from faults_of_plain_text(documents)
    kinds = {d["kind"] for d in documents}
    for wanted in ("DaemonSet", "StatefulSet", "Service", "ServiceAccount", "ConfigMap", "NetworkPolicy"):
        if wanted not in kinds:
            yield f"no {wanted} is rendered"
    yield from agent.faults(documents, [server.account(documents)])
    yield from server.faults(documents)


def main():
    documents = read(sys.argv[1])
    found = list(faults(documents))
    kinds = sorted({d["kind"] for d in documents})
    print("\n".join(found) or f"security contexts and rights hold in {len(documents)} documents ({', '.join(kinds)})")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
