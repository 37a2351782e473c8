"""Shows that check.py finds what is missing and what is too much, by taking rendered manifests apart.

Usage: check_test.py FOLDER, with a file for each mode, as rendered.
"""

import copy
import pathlib
import sys
import unittest

import agent
import check
import server

FOLDER = pathlib.Path(sys.argv.pop())
MODES = ("base", "cluster", "cluster-labels", "namespaces", "tokens")


def faults(mode, change=lambda documents: None):
    documents = copy.deepcopy(check.read(FOLDER / f"{mode}.yaml"))
    change(documents)
    return list(check.faults(documents))


def pod(documents):
    return agent.find(documents, "DaemonSet", agent.AGENT)["spec"]["template"]["spec"]


def container(documents):
    return pod(documents)["containers"][0]


def rules(documents):
    return [r for d in documents if d["kind"] in {"Role", "ClusterRole"} for r in d["rules"]]


class TheCheck(unittest.TestCase):
    def found(self, mode, text, change):
        found = faults(mode, change)
        self.assertTrue(any(text in fault for fault in found), f"{mode}: {text!r} is not in {found}")

    def test_takes_what_is_deployed(self):
        for mode in MODES:
            self.assertEqual(faults(mode), [], mode)

    def test_finds_each_missing_mount(self):
        for path in agent.MOUNTS:
            def drop(documents, path=path):
                mounts = container(documents)["volumeMounts"]
                mounts[:] = [m for m in mounts if m["mountPath"] != path]

            for mode in MODES:
                self.found(mode, f"{path} is not mounted", drop)

    def test_finds_plain_text_and_certificates_that_are_missing_or_anothers(self):
        def probe_in_plain_text(documents):
            container(documents)["readinessProbe"]["httpGet"].pop("scheme")

        def no_certificate(documents):
            container(documents)["volumeMounts"][:] = [m for m in container(documents)["volumeMounts"] if m["name"] != "tls"]

        def certificate_of_another(documents):
            next(v for v in pod(documents)["volumes"] if v["name"] == "tls")["secret"]["secretName"] = "heliograph-tls-query"

        def no_tls(documents):
            data = next(d for d in documents if d["kind"] == "ConfigMap" and "agent" in d["metadata"]["name"])["data"]
            data["heliograph.toml"] = data["heliograph.toml"].replace("[agent.tls]", "[other.tls]")

        for mode in MODES:
            self.found(mode, "agent: its readinessProbe asks in plain text", probe_in_plain_text)
            self.found(mode, "agent: heliograph-tls-agent is not mounted", no_certificate)
            self.found(mode, "agent: heliograph-tls-agent is not mounted", certificate_of_another)
            self.found(mode, "the port of agent has no TLS", no_tls)

    def test_finds_a_mount_that_is_writable_or_does_not_follow_the_node(self):
        def without(path, field):
            def change(documents):
                next(m for m in container(documents)["volumeMounts"] if m["mountPath"] == path).pop(field)

            return change

        self.found("base", "readOnly None", without("/var/log/pods", "readOnly"))
        self.found("base", "readOnly None", without("/var/lib/kubelet/pods", "readOnly"))
        self.found("base", "mountPropagation None", without("/var/lib/kubelet/pods", "mountPropagation"))

    def test_finds_a_mount_that_nobody_needs(self):
        def add(documents):
            pod(documents)["volumes"].append({"name": "root", "hostPath": {"path": "/"}})

        self.found("base", "mounts the node's /, which it does not need", add)

    def test_finds_an_input_that_is_not_mounted(self):
        def change(documents):
            for document in documents:
                if document["kind"] == "ConfigMap":
                    text = document["data"]["heliograph.toml"]
                    document["data"]["heliograph.toml"] = text.replace('root = "/var/log/pods"', 'root = "/srv"')

        self.found("base", "is told of '/srv'", change)

    def test_finds_each_missing_verb(self):
        of_pods = [(mode, "pods") for mode in MODES[1:]]
        for mode, resource in (*of_pods, ("cluster-labels", "namespaces")):
            for verb in agent.LOOK:
                def drop(documents, resource=resource, verb=verb):
                    next(r for r in rules(documents) if r["resources"] == [resource])["verbs"].remove(verb)

                self.found(mode, f"may not {verb} {resource}", drop)

    def test_finds_a_verb_or_resource_too_many(self):
        def resource(name):
            return lambda documents: rules(documents)[0]["resources"].append(name)

        for mode in MODES[1:]:
            self.found(mode, "may get ", lambda documents: rules(documents)[0]["verbs"].append("get"))
            self.found(mode, "may list secrets", resource("secrets"))
        self.found("cluster", "may watch namespaces", resource("namespaces"))

    def test_finds_a_missing_binding_account_or_token(self):
        def without(*kinds):
            def change(documents):
                documents[:] = [d for d in documents if d["kind"] not in kinds]

            return change

        self.found("cluster", "may not list pods in the cluster", without("ClusterRoleBinding"))
        self.found("cluster", "which is not rendered", without("ClusterRole"))
        self.found("namespaces", "may not watch pods in airflow", without("RoleBinding"))
        self.found("base", "ServiceAccount heliograph-agent is not rendered", without("ServiceAccount"))

        def token(mounted):
            return lambda documents: pod(documents).update(automountServiceAccountToken=mounted)

        for mode in MODES[1:]:
            self.found(mode, "lacks the service account token", token(False))
        self.found("base", "token that it does not use", token(True))

    def test_finds_a_binding_to_others_and_a_namespace_without_rights(self):
        def of_all(documents):
            binding = next(d for d in documents if d["kind"] == "ClusterRoleBinding")
            binding["subjects"].append({"kind": "Group", "name": "system:authenticated"})

        def one_more(documents):
            listed = agent.environment(container(documents))["HELIOGRAPH_AGENT__NAMESPACES__LIST"]
            listed["value"] = '["airflow", "b"]'

        self.found("cluster", "system:authenticated", of_all)
        self.found("namespaces", "may not list pods in b", one_more)

    def test_finds_an_agent_without_its_node_or_a_way_to_the_api_server(self):
        def nameless(documents):
            agent.environment(container(documents))["HELIOGRAPH_AGENT__NODE"].pop("valueFrom")

        def shut_in(documents):
            agent.find(documents, "NetworkPolicy", agent.AGENT)["spec"]["egress"].pop()

        for mode in MODES:
            self.found(mode, "is not spec.nodeName", nameless)
        for mode in MODES[1:]:
            self.found(mode, "keeps it from the API server", shut_in)

    def test_finds_a_server_with_a_token(self):
        def change(documents):
            server = agent.find(documents, "StatefulSet", "heliograph-server")
            server["spec"]["template"]["spec"]["automountServiceAccountToken"] = True

        self.found("cluster", "heliograph-server: mounts a service account token", change)

    def test_finds_a_server_that_cannot_review_tokens_or_may_more(self):
        def set_of(documents):
            return agent.find(documents, "StatefulSet", server.SERVER)

        def indexer(documents):
            return set_of(documents)["spec"]["template"]["spec"]["containers"][0]

        def reviews(documents):
            return next(r for r in rules(documents) if r["resources"] == ["tokenreviews"])

        def shut_in(documents):
            agent.find(documents, "NetworkPolicy", server.SERVER)["spec"]["egress"] = []

        def without_token(documents):
            mounts = indexer(documents)["volumeMounts"]
            mounts[:] = [m for m in mounts if m["name"] != "api"]

        def also_for_query(documents):
            containers = set_of(documents)["spec"]["template"]["spec"]["containers"]
            containers[1]["volumeMounts"].append({"name": "api", "mountPath": "/run/heliograph/api"})

        def another_account(documents):
            agent.environment(indexer(documents))[f"{server.PREFIX}SERVICE_ACCOUNTS"]["value"] = '["x/y"]'

        def no_nodes(documents):
            agent.environment(indexer(documents))["HELIOGRAPH_INDEXER__NODES"]["value"] = "[]"

        self.found("tokens", "may not create authentication", lambda d: reviews(d)["verbs"].clear())
        self.found("tokens", "may get authentication", lambda d: reviews(d)["verbs"].append("get"))
        self.found("tokens", "heliograph-server: may create authentication.k8s.io/secrets", lambda d: reviews(d)["resources"].append("secrets"))
        self.found("tokens", "heliograph-server: its NetworkPolicy keeps it", shut_in)
        self.found("tokens", "heliograph-server/indexer: has, or lacks, the token", without_token)
        self.found("tokens", "heliograph-server/query: has, or lacks, the token", also_for_query)
        self.found("tokens", "takes tokens of others", another_account)
        self.found("tokens", "nothing says for whom nodes may ship", no_nodes)

    def test_finds_an_agents_token_for_somebody_else(self):
        def source(documents):
            volume = next(v for v in pod(documents)["volumes"] if v["name"] == "token")
            return volume["projected"]["sources"][0]["serviceAccountToken"]

        def not_mounted(documents):
            mounts = container(documents)["volumeMounts"]
            mounts[:] = [m for m in mounts if m["name"] != "token"]

        self.found("tokens", "its token is for other", lambda d: source(d).update(audience="other"))
        # Without an audience, it is one for the API server.
        self.found("tokens", "its token is for None", lambda d: source(d).pop("audience"))
        self.found("tokens", "is not projected", not_mounted)


if __name__ == "__main__":
    unittest.main()
