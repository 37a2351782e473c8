"""Holds what may come into the binary: licences, sources, and banned crates, from `cargo metadata`.

cargo-deny checks the same and more, but takes longer to build than all of our own code.
"""

import json
import re
import subprocess
import sys

# Licences that Apache-2.0 code may stand on.
ALLOWED = {
    "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib",
    "0BSD", "Unlicense", "CC0-1.0", "Unicode-3.0", "CDLA-Permissive-2.0", "BSL-1.0", "OpenSSL", "NCSA",
}
# One crypto provider (aws-lc-rs), and nothing unkept.
BANNED = {
    "ring": "aws-lc-rs is the crypto provider",
    "openssl": "aws-lc-rs is the crypto provider",
    "openssl-sys": "aws-lc-rs is the crypto provider",
    "native-tls": "rustls is the TLS",
    "serde_yaml": "deprecated",
}


def licence_holds(expression):
    """An SPDX expression holds if some choice of its ORs has only allowed licences."""
    expression = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|AND|OR|[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.-]+)?", expression)

    def alternatives():
        value = conjunction()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = conjunction() or value
        return value

    def conjunction():
        value = atom()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = atom() and value
        return value

    def atom():
        token = tokens.pop(0)
        if token == "(":
            value = alternatives()
            tokens.pop(0)
            return value
        return token in ALLOWED

    return alternatives()


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    packages = json.loads(run("cargo", "metadata", "--format-version=1", "--locked"))["packages"]
    # What our builds reach: the lock file and the metadata also name optional parts that nobody switched on.
    tree = run("cargo", "tree", "--workspace", "--locked", "--edges=all", "--prefix=none", "--format={p}")
    reached = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    found = []
    for package in packages:
        if (package["name"], f"v{package['version']}") not in reached:
            continue
        name = f"{package['name']} {package['version']}"
        if package["name"] in BANNED:
            found.append(f"{name} is banned: {BANNED[package['name']]}")
        if package["source"] and not package["source"].startswith("registry+"):
            found.append(f"{name} comes from {package['source']}, not from the registry")
        if not package["license"] and not package["license_file"]:
            found.append(f"{name} names no licence")
        elif package["license"] and not licence_holds(package["license"]):
            found.append(f"{name} has the licence {package['license']}")
    print("\n".join(found) or f"licences, sources and bans hold in {len(reached)} packages")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
