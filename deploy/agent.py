"""What the agent is to have of its node and of the API server, and nothing beyond it: mounts, a name, rights.

The rights are those of docs/operating.md, by agent.kubernetes.rights.
"""

import tomllib

AGENT = "heliograph-agent"
# What is mounted of the node, each at its own path, and how.
MOUNTS = {
    "/var/log/pods": {"readOnly": True},
    "/var/lib/kubelet/pods": {"readOnly": True, "mountPropagation": "HostToContainer"},
    "/var/lib/heliograph-agent": {},
}
LOOK = frozenset({"list", "watch"})
API_PORTS = {443, 6443}


def find(documents, kind, name):
    return next((d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name)), None)


def environment(container):
    return {e["name"]: e for e in container.get("env", [])}


def settings(documents, spec, container):
    """The agent's section of the file that it reads, and what of it the environment sets instead."""
    names = [v["configMap"]["name"] for v in spec["volumes"] if v["name"] == "config"]
    file = find(documents, "ConfigMap", names[0]) if names else None
    agent = tomllib.loads(file["data"]["heliograph.toml"])["agent"] if file else {}
    of_environment = {name: e["value"] for name, e in environment(container).items() if "value" in e}
    rights = agent.get("kubernetes", {}).get("rights", "none")
    agent["rights"] = of_environment.get("HELIOGRAPH_AGENT__KUBERNETES__RIGHTS", rights)
    listed = agent.get("namespaces", {}).get("list", [])
    if text := of_environment.get("HELIOGRAPH_AGENT__NAMESPACES__LIST"):
        listed = tomllib.loads(f"list = {text}")["list"]
    agent["listed"] = listed
    label = agent.get("tenants", {}).get("label") or agent.get("namespaces", {}).get("label")
    by_label = ("HELIOGRAPH_AGENT__TENANTS__LABEL", "HELIOGRAPH_AGENT__NAMESPACES__LABEL")
    agent["by_label"] = bool(label) or any(name in of_environment for name in by_label)
    return agent


def faults_of_mounts(spec, container, agent):
    host_paths = {v["name"]: v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
    mounts = {m["mountPath"]: m for m in container["volumeMounts"] if m["name"] in host_paths}
    for path, how in MOUNTS.items():
        mount = mounts.get(path)
        if mount is None or host_paths[mount["name"]] != path:
            yield f"{AGENT}: the node's {path} is not mounted there"
            continue
        for field, value in how.items():
            if mount.get(field) != value:
                yield f"{AGENT}: {path} is mounted with {field} {mount.get(field)}, not {value}"
    for path in sorted(set(host_paths.values()) - set(MOUNTS)):
        yield f"{AGENT}: mounts the node's {path}, which it does not need"
    inputs = agent.get("inputs", [])
    wanted = [i[key] for i in inputs for key in ("root", "pods") if key in i] + [agent.get("data_dir", "")]
    for path in wanted:
        if not any(path == m or path.startswith(f"{m}/") for m in mounts):
            yield f"{AGENT}: is told of {path!r}, which is not mounted"
    node = environment(container).get("HELIOGRAPH_AGENT__NODE", {}).get("valueFrom", {})
    if node.get("fieldRef", {}).get("fieldPath") != "spec.nodeName":
        yield f"{AGENT}: HELIOGRAPH_AGENT__NODE is not spec.nodeName"


def wanted_rights(agent):
    """Scope (a namespace, or None for the cluster) and resource, to verbs."""
    match agent["rights"]:
        case "none":
            return {}
        case "cluster":
            labels = {(None, "namespaces"): LOOK} if agent["by_label"] else {}
            return {(None, "pods"): LOOK, **labels}
        case "namespaces":
            return {(namespace, "pods"): LOOK for namespace in agent["listed"]}
        case other:
            raise ValueError(f"unknown agent.kubernetes.rights {other!r}")


def granted_rights(documents, account, known):
    """The same, as the bindings to the account have it; and the bindings to others than that and those known."""
    granted, foreign = {}, []
    for binding in (d for d in documents if d["kind"] in {"RoleBinding", "ClusterRoleBinding"}):
        name, scope = binding["metadata"]["name"], binding["metadata"].get("namespace")
        subjects = [(s["kind"], s["name"], s.get("namespace")) for s in binding.get("subjects", [])]
        foreign.extend(f"{name}: binds {s}" for s in subjects if s not in (account, *known))
        role = next(
            (
                d
                for d in documents
                if d["kind"] == binding["roleRef"]["kind"]
                and d["metadata"]["name"] == binding["roleRef"]["name"]
                and d["metadata"].get("namespace") in {None, scope}
            ),
            None,
        )
        if role is None:
            foreign.append(f"{name}: binds {binding['roleRef']['name']}, which is not rendered")
        elif account in subjects:
            for rule in role["rules"]:
                for group in rule.get("apiGroups", []):
                    for resource in rule.get("resources", rule.get("nonResourceURLs", [])):
                        key = (scope, f"{group}/{resource}".lstrip("/"))
                        granted[key] = granted.get(key, frozenset()) | frozenset(rule["verbs"])
    return granted, foreign


def faults_of_rights(documents, set_, spec, agent, known):
    name, namespace = spec.get("serviceAccountName"), set_["metadata"].get("namespace")
    account = find(documents, "ServiceAccount", name)
    if account is None or account["metadata"].get("namespace") != namespace:
        yield f"{AGENT}: its ServiceAccount {name} is not rendered"
    wanted = wanted_rights(agent)
    granted, foreign = granted_rights(documents, ("ServiceAccount", name, namespace), known)
    yield from foreign
    for scope, resource in sorted({*wanted, *granted}, key=str):
        needs, has = (rights.get((scope, resource), frozenset()) for rights in (wanted, granted))
        where = f"{resource} in {scope or 'the cluster'}"
        for verb in sorted(needs - has):
            yield f"{AGENT}: may not {verb} {where}, as rights = {agent['rights']!r} needs"
        for verb in sorted(has - needs):
            yield f"{AGENT}: may {verb} {where}, which rights = {agent['rights']!r} does not need"
    if spec.get("automountServiceAccountToken") is not bool(wanted):
        what = "lacks the service account token that it needs" if wanted else "mounts a token that it does not use"
        yield f"{AGENT}: {what}"
    if wanted:
        policy = find(documents, "NetworkPolicy", AGENT)
        anywhere = [rule for rule in policy["spec"]["egress"] if "to" not in rule]
        reached = {port["port"] for rule in anywhere for port in rule.get("ports", [])}
        if missing := API_PORTS - reached:
            yield f"{AGENT}: its NetworkPolicy keeps it from the API server's {sorted(missing)}"


def faults(documents, known):
    """`known` are accounts of ours that have rights of their own."""
    set_ = find(documents, "DaemonSet", AGENT)
    if set_ is None:
        yield f"no {AGENT} is rendered"
        return
    spec = set_["spec"]["template"]["spec"]
    container = next(c for c in spec["containers"] if c["name"] == "agent")
    agent = settings(documents, spec, container)
    yield from faults_of_mounts(spec, container, agent)
    yield from faults_of_rights(documents, set_, spec, agent, known)
