"""Transactions of the stake ledger: texts that a person can read in a wallet, and their signatures.

A text is lines `name: value` in a fixed order, each with a reader of ledger_values.py or
ledger_index.py; it is a transaction if all of it is written as they would write it. Which lines an
action has is in ACTIONS, whose order is that of the lines; `?` marks those that may be left out, `*`
those that stand there as often as there are values.
"""
import blake3

import receipts
import schnorr
from documents import Refused, name_of
from ledger_index import (
    component_name, component_version, model, models, scope_name, source, world)
from ledger_values import (
    Wrong, address, amount, cosigner, hash_name, moment, need, number, one_of, sentence, share,
    signature, truth, url, word)
from translog import tohex

TITLE = "Adit transaction, version 1"
TEXT_MAX, VALUE_MAX = 8 * 1024, 1024
LAST_MOMENT = 253_402_300_799_999


# --- CBOR, to write: the one form of maps with integer keys, integers, bytes, texts and lists.


def head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    width = next(width for width in (1, 2, 4, 8) if number < 1 << 8 * width)
    return bytes([major << 5 | 23 + width.bit_length()]) + number.to_bytes(width, "big")


def cbor(value):
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int) and value < 1 << 64:
        return head(0, value)
    if isinstance(value, int):  # An amount above 64 bits: tag 2 and its bytes.
        return b"\xc2" + cbor(value.to_bytes((value.bit_length() + 7) // 8, "big"))
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    # A map as the list of its values by key, in which what is absent has no key.
    there = [(key, item) for key, item in enumerate(value) if item is not None]
    return head(5, len(there)) + b"".join(head(0, key) + cbor(item) for key, item in there)


# --- Lines.

SERVICE = [("service-uptime", share), ("service-latency", number(32))]
PROFILE = [("commission", share), ("url?", url), ("region?", word), ("introduction?", sentence),
           ("service-class?", word)]
AMOUNT, NODE = ("amount", amount), ("node", address)
ACTIONS = {
    "transfer": [("to", address), AMOUNT],
    "faucet": [AMOUNT],
    "stake": [AMOUNT],
    "unstake": [AMOUNT, ("from?", address)],
    "vote": [NODE, AMOUNT],
    "unvote": [NODE, AMOUNT],
    "register": [("role", one_of("miner", "coordinator", "checker")), NODE, ("log-key?", address),
                 ("name?", cosigner), ("bond", amount), *PROFILE, ("proof", signature)],
    "update": [NODE, *PROFILE],
    "rotate-key": [NODE, ("new-node-key", address), ("new-log-key?", address), ("proof", signature)],
    "deregister": [NODE],
    "deposit": [NODE, AMOUNT],
    "withdraw": [NODE, AMOUNT],
    "publish": [("name", component_name), ("version", component_version), ("component", hash_name),
                ("world", world), ("model*", (model, models)), ("description?", sentence),
                ("source?", source)],
    "yank": [("name", component_name), ("version", component_version), ("yanked", truth)],
    "transfer-name": [("name", scope_name), ("to", address)],
}
COMMON = [("genesis", hash_name), ("account", address), ("number", number(64)), ("fee", amount),
          ("expires", moment), ("action", one_of(*ACTIONS))]


class Lines:
    def __init__(self, text):
        self.lines, self.written = text.split("\n"), []

    def title(self):
        if self.lines.pop(0) != TITLE:
            raise Refused("line")
        self.written.append(TITLE)

    def fields(self, table):
        return {name.removesuffix("?"): self.field(name, read) for name, read in table}

    def field(self, name, read):
        if name.endswith("*"):
            return self.repeated(name[:-1], *read)
        absent, name = name.endswith("?"), name.removesuffix("?")
        if not self.lines or not self.lines[0].startswith(name + ": "):
            if absent:
                return None
            raise Refused("missing", name=name)
        text = self.lines.pop(0)[len(name) + 2:]
        try:
            need(len(text.encode()) <= VALUE_MAX)
            value, written = read(text)
        except Wrong:
            raise Refused("value", name=name)
        self.written.append(f"{name}: {written}")
        return value


    def repeated(self, name, read, check):
        """As many lines as there are of a name, and a check of them all."""
        values = []
        while self.lines and self.lines[0].startswith(name + ": "):
            values.append(self.field(name, read))
        try:
            check(values)
        except Wrong:
            raise Refused("value", name=name)
        return values


def read_text(raw):
    if len(raw) > TEXT_MAX:
        raise Refused("too-long", found=len(raw), max=TEXT_MAX)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Refused("not-canonical", at=error.start)
    lines = Lines(text)
    lines.title()
    transaction = lines.fields(COMMON)
    fields = {}
    for name, read in ACTIONS[transaction["action"]]:
        fields[name.rstrip("?*")] = lines.field(name, read)
        if name == "service-class?" and fields["service-class"] is not None:
            # The class comes with the two others, or none of them is there.
            fields |= lines.fields(SERVICE)
    if lines.lines:
        raise Refused("left")
    written = "\n".join(lines.written).encode()
    if written != raw:
        same = zip(written, raw)
        raise Refused("not-canonical", at=next(
            (at for at, (a, b) in enumerate(same) if a != b), min(len(written), len(raw))))
    transaction["expires"] = min(transaction["expires"], LAST_MOMENT)
    return transaction | {"fields": fields, "id": blake3.blake3(raw).digest()}


def profile(fields):
    """What is said of a node, as a part of the state."""
    service = fields["service-class"] and {
        "class": fields["service-class"], "uptime_ppm": fields["service-uptime"],
        "latency_ms": fields["service-latency"]}
    return {"commission_ppm": fields["commission"], "url": fields["url"],
            "region": fields["region"], "introduction": fields["introduction"], "service": service}


# --- Signatures.


def new_keys(transaction):
    """The node key that a transaction brings along, and the log key with it."""
    fields = transaction["fields"]
    if transaction["action"] == "register":
        return fields["node"], fields["log-key"]
    return fields["new-node-key"], fields["new-log-key"]


def check_signatures(transaction, raw, signed):
    try:
        receipts.verify(transaction["account"], b"<Bytes>" + raw + b"</Bytes>", signed, "account")
    except Refused:
        raise Refused("account")
    if transaction["action"] in ("register", "rotate-key"):
        node, log = new_keys(transaction)
        keys = (node, log)
        word_of_node = cbor((transaction["genesis"], transaction["account"], keys))
        proof = transaction["fields"]["proof"]
        if not schnorr.verified(b"adit-registration-v1", word_of_node, node, proof):
            raise Refused("node")


def read_transaction(data):
    """Signature (64) ‖ text, of which nothing is checked but the text."""
    if len(data) > 64 + TEXT_MAX:
        raise Refused("too-long", found=len(data) - 64, max=TEXT_MAX)
    if len(data) < 64:
        raise Refused("line")
    return read_text(data[64:])


def checked(data):
    transaction = read_transaction(data)
    check_signatures(transaction, data[64:], data[:64])
    return transaction


# --- As the index has it.


def js(value):
    if isinstance(value, bytes):
        return tohex(value)
    return str(value) if isinstance(value, int) and value >= 1 << 53 else value


def models_json(values):
    return [{"name": name, "manifest": name_of(manifest)} for name, manifest in values]


def value_of(transaction):
    """What a transaction says, with the names of the index."""
    fields = transaction["fields"]
    said = {name: fields[name] for name in ("to", "node", "role", "name", "from", "proof", "version", "world", "description", "source",
                         "yanked")
            if name in fields}
    said |= {name: str(fields[name]) for name in ("amount", "bond") if name in fields}
    for ours, theirs in (("log-key", "log"), ("new-node-key", "new_node"), ("new-log-key", "new_log")):
        if ours in fields:
            said[theirs] = fields[ours]
    if "component" in fields:
        said["component"] = name_of(fields["component"])
        said["models"] = models_json(fields["model"])
    if "commission" in fields:
        said["profile"] = profile(fields)
    return {"genesis": name_of(transaction["genesis"]), "account": tohex(transaction["account"]),
            "number": js(transaction["number"]), "fee": str(transaction["fee"]),
            "expires_ms": js(transaction["expires"]), "action": transaction["action"],
            "fields": {name: js(value) for name, value in said.items()}}
