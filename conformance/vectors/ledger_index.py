"""The component index of the stake ledger: names, versions, and what is published under them.

A scope is the part of a name before `/`, or all of it. Whoever first publishes in a scope owns it,
with all names in it, and pays more for that.
"""
import re

from documents import Refused
from ledger_values import hash_name, matching, need, one_of, url

SCOPE_FEES, RELEASES_MAX, MODELS_MAX = 100, 1024, 32
WORLDS = ["adit:task/task", "wasi:cli/command"]

# --- Values of lines.

PART = "[a-z0-9][a-z0-9-]{0,63}"
NUMBER = "(?:0|[1-9][0-9]*)"
PRE = f"(?:{NUMBER}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
OCI_PART = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"
OCI = (rf"oci://(?P<host>[a-z0-9.:\[\]-]+)/(?P<repository>{OCI_PART}(?:/{OCI_PART})*)"
       r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})")

scope_name = matching(PART, 64)
component_name = matching(f"{PART}(?:/{PART})?", 129)
world = one_of(*WORLDS)


def component_version(text):
    """SemVer 2.0.0 without build metadata; each number has 64 bits at most."""
    form = re.fullmatch(rf"({NUMBER})\.({NUMBER})\.({NUMBER})(?:-{PRE}(?:\.{PRE})*)?", text, re.ASCII)
    need(form and len(text) <= 64 and all(int(number) < 1 << 64 for number in form.groups()))
    return text, text


def model(text):
    form = re.fullmatch(r"([!-~]{1,64}) (.*)", text, re.ASCII)
    need(form)
    return (form[1], hash_name(form[2])[0]), text


def source(text):
    """A coordinator's address, or where an OCI artifact is."""
    need(len(text.encode()) <= 512)
    form = re.fullmatch(OCI, text, re.ASCII)
    if form:
        need(len(form["host"]) + len(form["repository"]) <= 255)
        return text, text
    return url(text)


# --- What happens to the index.


def scope_of(name):
    return name.split("/")[0]


def check(condition, error):
    if not condition:
        raise Refused(error)


class Index:
    """A part of the state: owners by scope, and releases by name and version."""

    def begin_index(self):
        self.scopes, self.releases = {}, {}

    def least_fee(self, action, fields):
        fee = self.parameters["fee_min"]
        if action == "faucet":  # Whoever comes to the faucet has nothing to pay with.
            return 0
        new = action == "publish" and scope_of(fields["name"]) not in self.scopes
        return fee * SCOPE_FEES if new else fee

    def do_publish(self, key, payer, fields, transaction):
        name, version, scope = fields["name"], fields["version"], scope_of(fields["name"])
        check(self.scopes.get(scope, key) == key, "not-owner")
        check((name, version) not in self.releases, "version-taken")
        same_name = sum(of == name for of, _ in self.releases)
        check(same_name < RELEASES_MAX, "rule many-releases")
        self.scopes[scope] = key
        # In the order of their keys in the state.
        self.releases[name, version] = {
            "component": fields["component"], "world": fields["world"], "models": fields["model"],
            "description": fields["description"], "source": fields["source"], "yanked": False,
            "published_ms": self.time_ms, "publisher": key, "transaction": transaction["id"]}

    def do_yank(self, key, payer, fields, _):
        place = fields["name"], fields["version"]
        check(place in self.releases, "no-release")
        check(self.scopes[scope_of(fields["name"])] == key, "not-owner")
        check(self.releases[place]["yanked"] != fields["yanked"], "rule same-yank")
        self.releases[place]["yanked"] = fields["yanked"]

    def do_transfer_name(self, key, payer, fields, _):
        scope = fields["name"]
        check(scope in self.scopes, "no-scope")
        check(self.scopes[scope] == key, "not-owner")
        check(fields["to"] != key, "rule own-name")
        self.scopes[scope] = fields["to"]

    def index_entries(self):
        """Entries of the state by key, with their values as CBOR takes them."""
        entries = {b"\x1e" + scope.encode(): owner for scope, owner in self.scopes.items()}
        for (name, version), release in self.releases.items():
            entries[b"\x1f" + f"{name}\0{version}".encode()] = tuple(
                WORLDS.index(value) if field == "world" else value
                for field, value in release.items())
        return entries
