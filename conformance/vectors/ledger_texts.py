"""Transactions of the stake ledger: texts that a person can read in a wallet, and their signatures.

A text is lines `name: value` in a fixed order. Values are read by ledger_values.py, which says what
one means and the one way to write it; a text is a transaction if all of it is written so. Which lines
an action has is in ACTIONS, whose order is that of the lines; `?` marks those that may be left out.
"""
import blake3

import receipts
import schnorr
from documents import Refused, name_of
from ledger_index import (
    MODELS_MAX, component_name, component_version, model, scope_name, source, world)
from ledger_values import (
    OCTETS_MAX, Several, Wrong, address, amount, ascends, attestation, by_first, cbor, choice, cosigner, digits,
    fields_of, hash_name, moment, need, number, octets, one_of, sentence, setting, share, signature, spend,
    truth, url, word)
from translog import tohex

TITLE = "Adit transaction, version 1"
TEXT_MAX, VALUE_MAX = 48 * 1024, 1024
LAST_MOMENT = 253_402_300_799_999

# --- Lines.

SERVICE = [("service-uptime", share), ("service-latency", number(32))]
PROFILE = [("commission", share), ("url?", url), ("region?", word), ("introduction?", sentence),
           ("service-class?", word)]
RECEIPT = digits(456)  # The body, and its miner's signature.
EVIDENCE = {
    "equivocation": [("first", RECEIPT), ("second", RECEIPT)],
    "log-fork": [("key", address), ("size", number(64)), ("first-root", hash_name),
                 ("first-signature", signature), ("second-root", hash_name),
                 ("second-signature", signature)]}
ACCUSED = ["wrong-execution", "missing-receipt", "not-serving", "judgement"]
AMOUNT, NODE, REPORT = ("amount", amount), ("node", address), ("report", hash_name)
ATTESTED = ("attestation", Several(attestation, 64, by_first))
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
                ("world", world), ("model", Several(model, MODELS_MAX, by_first)),
                ("description?", sentence), ("source?", source)],
    "yank": [("name", component_name), ("version", component_version), ("yanked", truth)],
    "transfer-name": [("name", scope_name), ("to", address)],
    "close-epoch": [("coordinator", address), ("epoch", number(64)), ("size", number(64)),
                    ("root", hash_name), ("signature", signature),
                    ("cosignature", Several(fields_of(cosigner, number(64), signature), 64, by_first))],
    "settle": [("epoch", number(64)), ("replaces?", hash_name), ("input", hash_name),
               ("output", hash_name), ("minted", amount), ("treasury", amount), ("paid", amount),
               ("accounts", number(64)), ("earned", hash_name),
               ("charge", Several(fields_of(address, amount, amount), 256, by_first)), ATTESTED],
    "claim": [("total", amount), ("index", number(64)), ("proof", Several(hash_name, 63))],
    "propose": [("title", sentence), ("set", Several(setting, 32, ascends)),
                ("spend", Several(spend, 8))],
    "ballot": [("proposal", hash_name), ("choice", choice)],
    "report": [NODE, ("misdeed", one_of(*EVIDENCE))],
    "accuse": [NODE, ("misdeed", one_of(*ACCUSED)), ("evidence", hash_name)],
    "verdict": [REPORT, ("verdict", one_of("guilty", "not-guilty")), ATTESTED],
    "appeal": [REPORT],
    "late-receipt": [("coordinator", address), ("receipt", RECEIPT), ("countersignature", signature),
                     ("assignment", octets), ("assignment-signature", signature)],
    "answer": [("assignment", hash_name), ("leaf", number(64)), ("entry", Several(octets, 35)),
               ("proof", Several(hash_name, 63))],
    "unjail": [NODE],
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

    def several(self, name, of):
        values = []
        while (value := self.field(name + "?", of.read)) is not None:
            if len(values) == of.most or values and not of.fits(values[-1], value):
                raise Refused("value", name=name)
            values.append(value)
        return values

    def joined(self, name, pieces):
        """Bytes on several lines, of which all but the last are full."""
        whole = b"".join(pieces)
        del self.written[len(self.written) - len(pieces):]
        self.written += [f"{name}: {tohex(whole[at:at + OCTETS_MAX])}"
                         for at in range(0, len(whole), OCTETS_MAX)]
        return whole


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
        if isinstance(read, Several):
            fields[name] = lines.several(name, read)
            if name == "entry":
                fields[name] = lines.joined(name, fields[name])
            continue
        fields[name.removesuffix("?")] = lines.field(name, read)
        if name == "service-class?" and fields["service-class"] is not None:
            # The class comes with the two others, or none of them is there.
            fields |= lines.fields(SERVICE)
        if name == "misdeed" and fields[name] in EVIDENCE:
            fields |= lines.fields(EVIDENCE[fields[name]])
        if name == "verdict" and fields[name] == "guilty":
            fields |= lines.fields([("fraction", share)])
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


def closure_said(fields):
    return {"coordinator": fields["coordinator"], "epoch": fields["epoch"], "size": fields["size"],
            "root": name_of(fields["root"]), "signature": fields["signature"],
            "cosignatures": [{"name": name, "time_s": js(time), "signature": tohex(signature)}
                             for name, time, signature in fields["cosignature"]]}


def charges_said(charges):
    return [{"node": tohex(node), "spent": str(spent), "burned": str(burned)}
            for node, spent, burned in charges]


def attestations_said(fields):
    return [{"checker": tohex(checker), "signature": tohex(signature)}
            for checker, signature in fields["attestation"]]


def settlement_said(fields):
    hashes = {name: fields[name] and name_of(fields[name]) for name in ("replaces", "input", "output")}
    amounts = {name: str(fields[name]) for name in ("minted", "treasury", "paid")}
    return hashes | amounts | {
        "epoch": fields["epoch"], "charges": charges_said(fields["charge"]),
        "earned": {"size": js(fields["accounts"]), "root": name_of(fields["earned"])},
        "attestations": attestations_said(fields)}


def claim_said(fields):
    return {"total": str(fields["total"]), "index": fields["index"],
            "proof": [name_of(one) for one in fields["proof"]]}


def late_said(fields):
    return {"coordinator": fields["coordinator"], "assignment": fields["assignment"],
            "receipt": fields["receipt"] + fields["countersignature"],
            "assignment_signature": fields["assignment-signature"]}


def answer_said(fields):
    return {"assignment": name_of(fields["assignment"]), "leaf": fields["leaf"],
            "entry": fields["entry"], "proof": [name_of(one) for one in fields["proof"]]}


# Of actions whose fields are named by themselves.
SAID = {"close-epoch": closure_said, "settle": settlement_said, "claim": claim_said,
        "late-receipt": late_said, "answer": answer_said}


def models_json(values):
    return [{"name": name, "manifest": name_of(manifest)} for name, manifest in values]


def spends_json(spends):
    return [{"account": tohex(account), "amount": str(tokens)} for account, tokens in spends]


def value_of(transaction):
    """What a transaction says, with the names of the index."""
    fields = transaction["fields"]
    said = {name: fields[name] for name in ("to", "node", "role", "name", "from", "proof", "version",
                                            "world", "description", "source", "yanked")
            if name in fields and transaction["action"] not in SAID}
    said |= {name: str(fields[name]) for name in ("amount", "bond") if name in fields}
    for ours, theirs in (("log-key", "log"), ("new-node-key", "new_node"), ("new-log-key", "new_log")):
        if ours in fields:
            said[theirs] = fields[ours]
    said |= SAID.get(transaction["action"], lambda _: {})(fields)
    if "component" in fields:
        said |= {"component": name_of(fields["component"]), "models": models_json(fields["model"])}
    if "title" in fields:
        said |= {"title": fields["title"], "set": [text for _, _, text in fields["set"]],
                 "spend": spends_json(fields["spend"])}
    if "choice" in fields:
        said |= {"proposal": name_of(fields["proposal"]), "choice": ["no", "yes"][fields["choice"]]}
    # What is named by its hash.
    said |= {name.replace("-", "_"): name_of(fields[name])
             for name in ("report", "evidence", "first-root", "second-root") if name in fields}
    said |= {name.replace("-", "_"): fields[name]
             for name in ("misdeed", "first", "second", "key", "size", "first-signature",
                          "second-signature", "verdict") if name in fields}
    if "verdict" in fields:
        said |= {"fraction_ppm": fields.get("fraction"), "attestations": attestations_said(fields)}
    if "commission" in fields:
        said["profile"] = profile(fields)
    return {"genesis": name_of(transaction["genesis"]), "account": tohex(transaction["account"]),
            "number": js(transaction["number"]), "fee": str(transaction["fee"]),
            "expires_ms": js(transaction["expires"]), "action": transaction["action"],
            "fields": {name: js(value) for name, value in said.items()}}
