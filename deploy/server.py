"""What the server is to have of the API server, and nothing beyond it: to ask whose an agent's token is, where it is told
to (indexer.token_review); and that agents bring the tokens that it asks about.
"""

import tomllib

import agent

SERVER = "heliograph-server"
PREFIX = "HELIOGRAPH_INDEXER__TOKEN_REVIEW__"
REVIEWS = (None, "authentication.k8s.io/tokenreviews")


def account(documents):
    set_ = agent.find(documents, "StatefulSet", SERVER)
    name = set_["spec"]["template"]["spec"].get("serviceAccountName")
    return ("ServiceAccount", name, set_["metadata"].get("namespace"))


def tokens(spec, container):
    """The service account tokens that are put into a container, by the path of the file."""
    sources = {v["name"]: v["projected"]["sources"] for v in spec.get("volumes", []) if "projected" in v}
    found = {}
    for mount in container["volumeMounts"]:
        for source in sources.get(mount["name"], []):
            if "serviceAccountToken" in source:
                token = source["serviceAccountToken"]
                found[f"{mount['mountPath']}/{token['path']}"] = token
    return found


def setting(container, name):
    entry = agent.environment(container).get(name)
    return entry and entry["value"]


def listed(container, name):
    return tomllib.loads(f"list = {setting(container, name) or '[]'}")["list"]


def faults_of_rights(documents, reviews):
    wanted = {REVIEWS: frozenset({"create"})} if reviews else {}
    granted, _ = agent.granted_rights(documents, account(documents), [])
    for scope, resource in sorted({*wanted, *granted}, key=str):
        needs, has = (rights.get((scope, resource), frozenset()) for rights in (wanted, granted))
        where = f"{resource} in {scope or 'the cluster'}"
        for verb in sorted(needs - has):
            yield f"{SERVER}: may not {verb} {where}, as indexer.token_review needs"
        for verb in sorted(has - needs):
            yield f"{SERVER}: may {verb} {where}, which it does not need"


def faults_of_agents_token(documents, container):
    set_ = agent.find(documents, "DaemonSet", agent.AGENT)
    spec = set_["spec"]["template"]["spec"]
    its = next(c for c in spec["containers"] if c["name"] == "agent")
    file = setting(its, "HELIOGRAPH_AGENT__TOKEN_FILE")
    token = tokens(spec, its).get(file)
    if token is None:
        yield f"{agent.AGENT}: its token file {file} is not projected"
    elif token.get("audience") not in listed(container, f"{PREFIX}AUDIENCES"):
        yield f"{agent.AGENT}: its token is for {token.get('audience')}, which the indexer does not take"
    name = f"{set_['metadata'].get('namespace')}/{spec.get('serviceAccountName')}"
    if listed(container, f"{PREFIX}SERVICE_ACCOUNTS") != [name]:
        yield f"{SERVER}: takes tokens of others than {name}"


def faults(documents):
    set_ = agent.find(documents, "StatefulSet", SERVER)
    spec = set_["spec"]["template"]["spec"]
    indexer = next(c for c in spec["containers"] if c["name"] == "indexer")
    reviews = setting(indexer, f"{PREFIX}AUDIENCES") is not None
    yield from faults_of_rights(documents, reviews)
    own = setting(indexer, f"{PREFIX}TOKEN_FILE") if reviews else None
    for container in spec["containers"]:
        wanted = {own} if own and container is indexer else set()
        if found := set(tokens(spec, container)) ^ wanted:
            yield f"{SERVER}/{container['name']}: has, or lacks, the token {sorted(found)}"
    if not reviews:
        return
    if "audience" in tokens(spec, indexer).get(own, {}):
        yield f"{SERVER}/indexer: its token is not for the API server"
    if not listed(indexer, "HELIOGRAPH_INDEXER__NODES"):
        yield f"{SERVER}: nothing says for whom nodes may ship"
    policy = agent.find(documents, "NetworkPolicy", SERVER)
    anywhere = [rule for rule in policy["spec"]["egress"] if "to" not in rule]
    reached = {port["port"] for rule in anywhere for port in rule.get("ports", [])}
    if missing := agent.API_PORTS - reached:
        yield f"{SERVER}: its NetworkPolicy keeps it from the API server's {sorted(missing)}"
    yield from faults_of_agents_token(documents, indexer)
