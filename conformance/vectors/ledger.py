"""Checks the vectors of the stake ledger by an implementation of its own, to show that others can.

    python3 -m pip install blake3 py-sr25519-bindings
    python3 ledger.py [FOLDER]

FOLDER is `registry` beside this file if none is given. In FOLDER/transactions each good file must be
accepted with the value in the index, and each bad one be refused with the error there. In
FOLDER/ledgers each good log is followed from its genesis documents: the roots of its epochs, the
refusals at their places, the state at the end and the proofs of accounts must be those that are
expected; each bad log must fail at its entry with its error. A line says so for each; the exit
status is 1 if anything differs.

It shares no code with adit-ledger, but its author knew that: the characters that are not seen, and
what is refused in which order, are documented nowhere but there. The texts are in ledger_texts.py,
the parameters in ledger_rules.py, what transactions do in ledger_state.py, of votes on parameters in
ledger_votes.py, of misdeeds in ledger_misdeeds.py, of late receipts in ledger_late.py, of settlements in ledger_settling.py, and both of
components in ledger_index.py.
"""
import json, sys
from pathlib import Path

import ledger_late
import ledger_misdeeds
import ledger_votes
import network
from documents import (
    Record, Refused, amount, array, ascending, b, decode_as, h, name_of, optional, rule, u)
from ledger_rules import PARAMETERS, SUPPLY_MAX
from ledger_state import State, proven
from ledger_texts import (
    charges_said, check_signatures, checked, js, models_json, read_transaction, value_of)
from translog import hashed, tohex, unhex

# --- The genesis documents. That of a network names the ledger's by its hash, in a field that the
# networks of v1 do not have.

NETWORK = (Record(network.genesis_rules, **network.GENESIS.fields, ledger=optional(h)),
           *network.DOCUMENTS["genesis-documents"][1:])


def allocation_rules(ledger):
    total = sum(int(one["amount"]) for one in ledger["allocations"])
    return "allocations" if total > SUPPLY_MAX else None


LEDGER = Record(
    allocation_rules, log=b(32),
    parameters=PARAMETERS,
    allocations=array(Record(account=b(32), amount=amount), 4096,
                      lambda list: ascending([one["account"] for one in list]))), 512 << 10, 4096, 1024


def begin(folder):
    """The state before the first block."""
    raw, ledger = (folder / "network.bin").read_bytes(), (folder / "ledger.bin").read_bytes()
    document = decode_as(NETWORK, raw)
    rule(document["ledger"] == name_of(hashed(ledger)), ["ledger"])
    return State(hashed(raw), document, decode_as(LEDGER, ledger))


# --- The registry's log: type byte and body.

EPOCH = Record(epoch=u(64), state=Record(size=u(64), root=h)), 128, 8, 8


def unframed(data):
    """Entries, each after its length as u32 LE."""
    entries = []
    while data:
        length = int.from_bytes(data[:4], "little")
        entry, data = data[4:4 + length], data[4 + length:]
        if len(entry) != length:
            raise ValueError("the file is cut off")
        entries.append(entry)
    return entries


class Replay:
    """Follows a log. A block of a later epoch comes right after the root of the one before, and a
    root stands nowhere else."""

    def __init__(self, state):
        self.state, self.rooted, self.in_block, self.roots = state, False, False, []

    def entry(self, entry):
        if not entry or entry[0] not in (1, 2, 3):
            raise Refused("entry form")
        (self.block, self.signed, self.root)[entry[0] - 1](entry[1:])

    def block(self, body):
        if len(body) != 16:
            raise Refused("entry form")
        height, time_ms = (int.from_bytes(half, "little") for half in (body[:8], body[8:]))
        if height != self.state.height + 1:
            raise Refused("height")
        if (self.state.epoch_at(time_ms) > self.state.epoch) != self.rooted:
            raise Refused("root-place")
        self.state.begin_block(time_ms)
        self.rooted, self.in_block = False, True

    def signed(self, body):
        try:
            transaction = read_transaction(body)
        except Refused as refused:
            raise Refused("entry text " + refused.error)
        try:
            check_signatures(transaction, body[64:], body[:64])
        except Refused as refused:
            raise Refused("signature " + refused.error)
        if self.rooted or not self.in_block:
            raise Refused("no-block")
        try:
            self.state.apply(transaction)
        except Refused as refused:
            raise Refused("refused " + refused.error)

    def root(self, body):
        try:
            said = decode_as(EPOCH, body)
        except Refused:
            raise Refused("entry form")
        if int(said["epoch"]) != self.state.epoch or self.rooted:
            raise Refused("root-place")
        size, root = self.state.root()
        if said["state"] != {"size": size, "root": name_of(root)}:
            raise Refused("root")
        self.rooted = True
        self.roots.append(said)


# --- The state as JSON.


def amounts(fields, *names):
    return {name: str(value) if name in names else js(value) for name, value in fields.items()}


COUNTED = {"saturation", "fuel_weight", "nn_weight"}


def parameters_json(value, name=""):
    """Amounts are texts; what counts epochs or parts, or weighs, is a number."""
    if isinstance(value, dict):
        # What stands in `shares` is named like other things elsewhere.
        return {one: js(value[one]) if name == "shares" else parameters_json(value[one], one)
                for one in value}
    if isinstance(value, list):
        return [parameters_json(one) for one in value]
    if value is None or isinstance(value, bytes):
        return value and name_of(value)
    return js(value) if name.endswith(("_ppm", "_epochs")) or name in COUNTED else str(value)


def keys_json(keys):
    return keys and {"node": tohex(keys[0]), "log": keys[1] and tohex(keys[1])}


def settled_json(epoch, settled):
    size, root = settled["earned"]
    return {"epoch": js(epoch), "hash": name_of(settled["hash"]),
            "charges": charges_said(settled["charges"]),
            "earned": {"size": js(size), "root": name_of(root)}} | {
        name: str(settled[name]) for name in ("minted", "treasury", "paid")} | {
        name: js(settled[name]) for name in ("in_epoch", "from_epoch")}


def state_json(state):
    head = {"genesis": name_of(state.genesis), "height": js(state.height),
            "time_ms": js(state.time_ms), "epoch": js(state.epoch), "issued": str(state.issued),
            "burned": str(state.burned), "faucet": str(state.faucet_given),
            "parameters": parameters_json(state.parameters),
            "treasury": str(state.treasury), "rewards": str(state.rewards),
            "settled": js(state.settled), "staked": str(state.staked_now)}
    nodes = {tohex(key): amounts(node, "stake", "escrow") | {
        name: keys_json(node[name]) for name in ("keys", "next_keys")} | {
        "former_keys": [one | {"keys": keys_json(one["keys"])} for one in node["former_keys"]]}
        for key, node in state.nodes.items()}
    return {
        "head": head, "nodes": nodes,
        "accounts": {tohex(key): amounts(account, "free", "stake", "faucet", "claimed")
                     for key, account in state.accounts.items()},
        "taken": {tohex(key): tohex(node) for key, node in state.taken.items()},
        "votes": [{"node": tohex(node), "voter": tohex(voter), "amount": str(votes)}
                  for (node, voter), votes in sorted(state.votes.items())],
        "unbonding": [{"until_epoch": js(until), "account": tohex(account), "node": tohex(node),
                       "to": ["free", "stake", "escrow"][to], "amount": str(tokens)}
                      for (until, account, node, to), tokens in sorted(state.unbonding.items())],
        "closings": [{"coordinator": tohex(node), "epoch": js(epoch), "first": js(closing["first"]),
                      "size": js(closing["size"]), "root": name_of(closing["root"]),
                      "node_key": tohex(closing["node_key"])}
                     for (node, epoch), closing in sorted(state.closings.items())],
        "settlements": [settled_json(epoch, one) for epoch, one in sorted(state.settlements.items())],
        "former_rules": [{"epoch": js(epoch), "rules": parameters_json(rules)}
                         for epoch, rules in sorted(state.former_rules.items())],
        "supply": {place: str(tokens) for place, tokens in state.supply().items()},
        "scopes": {scope: tohex(owner) for scope, owner in state.scopes.items()},
        "releases": [release_json(name, version, release)
                     for (name, version), release in sorted(state.releases.items())],
        **ledger_votes.lists_json(state), **ledger_misdeeds.lists_json(state),
        **ledger_late.lists_json(state)}


def release_json(name, version, release):
    named = {field: name_of(release[field]) for field in ("component", "transaction")}
    return release | named | {
        "name": name, "version": version, "models": models_json(release["models"]),
        "published_ms": js(release["published_ms"]), "publisher": tohex(release["publisher"])}


# --- The run.


def outcome(check, *given):
    """What a check returns, or the error that it ends with."""
    try:
        return check(*given), None
    except Refused as refused:
        return None, refused


class Report:
    def __init__(self):
        self.right = self.wrong = 0

    def line(self, name, fits, said, found):
        self.right, self.wrong = self.right + bool(fits), self.wrong + (not fits)
        print(f"{name}: {said if fits else f'WRONG: {found}'}")


def transactions(folder, report):
    index = json.loads((folder / "index.json").read_text("utf-8"))
    for file, entry in index["good"].items():
        found, refused = outcome(checked, (folder / "good" / file).read_bytes())
        fits = found and value_of(found) == entry["value"] and name_of(found["id"]) == entry["id"]
        report.line(f"transactions/good/{file}", fits, "accepted", refused or value_of(found))
    for file, entry in index["bad"].items():
        like = (folder / "good" / entry["like"]).read_bytes() if "like" in entry else b""
        data = (like[:entry.get("head", 0)] + (folder / "bad" / file).read_bytes()
                + b"a" * entry.get("then", 0) + like[len(like) - entry.get("tail", 0):])
        _, of_text = outcome(read_transaction, data)
        _, refused = outcome(checked, data)
        fits = (refused and refused.fits(entry["error"], entry["detail"])
                and (of_text is not None) == (entry["of"] == "text"))
        report.line(f"transactions/bad/{file}", fits, f"refused: {entry['why']}",
                    f"{refused or 'accepted'}, expected {entry}")


def good_ledger(folder, report, name):
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    log, replay = unframed((folder / "log.bin").read_bytes()), Replay(begin(folder))
    refused_by_place = {}
    refused = unframed((folder / "refused.bin").read_bytes())
    for entry, raw in zip(expected["refused"], refused, strict=True):
        refused_by_place.setdefault(entry["before"], []).append((entry, raw))
    for at in range(len(log) + 1):
        for entry, raw in refused_by_place.pop(at, []):
            transaction, before = checked(raw), replay.state.copy()
            _, refused = outcome(replay.state.apply, transaction)
            fits = (refused and refused.error == entry["refusal"]
                    and vars(replay.state) == vars(before))
            report.line(f"{name}, before entry {at}", fits, f"refused: {entry['refusal']}",
                        f"{refused or 'done'}, expected {entry['refusal']}")
        if at < len(log):
            _, refused = outcome(replay.entry, log[at])
            if refused:
                report.line(f"{name}, entry {at}", False, "", refused)
                return
    size, root = replay.state.root()
    supply = sum(replay.state.supply().values())
    for what, fits in {
            "refusals beyond the end": not refused_by_place,
            "roots of epochs": replay.roots == expected["roots"],
            "state": expected["state"] in (None, state_json(replay.state)),
            "sum of all tokens": supply == replay.state.issued - replay.state.burned,
            "root": {"size": size, "root": name_of(root)} == expected["root"]}.items():
        report.line(f"{name}, {what}", fits, "as expected", "otherwise")
    for entry in expected["proofs"] + expected["bad_proofs"]:
        found, refused = outcome(proven, unhex(entry["account"]), entry["entries"], size, root)
        if "error" in entry:
            fits, said = refused and refused.error == entry["error"], f"refused: {entry['why']}"
        else:
            fits = refused is None and found == entry["value"]
            said = "there" if found else "not there"
        report.line(f"{name}, proof of {entry['account']}", fits, said, refused or found)


def bad_ledger(folder, report, file, entry):
    good = folder / "good" / entry["ledger"]
    replay, found = Replay(begin(good)), None
    log = unframed((good / "log.bin").read_bytes())[:entry["same"]]
    for at, raw in enumerate(log + unframed((folder / "bad" / file).read_bytes())):
        _, refused = outcome(replay.entry, raw)
        if refused:
            found = at, refused.error
            break
    report.line(f"ledgers/bad/{file}", found == (entry["at"], entry["error"]),
                f"entry {entry['at']} refused: {entry['why']}", f"{found}, expected {entry}")


def main(folder):
    report = Report()
    transactions(folder / "transactions", report)
    ledgers = folder / "ledgers"
    index = json.loads((ledgers / "index.json").read_text("utf-8"))
    for name in index["good"]:
        good_ledger(ledgers / "good" / name, report, f"ledgers/good/{name}")
    for file, entry in index["bad"].items():
        bad_ledger(ledgers, report, file, entry)
    print(f"{report.right} as they should be, {report.wrong} not")
    return 1 if report.wrong or not report.right else 0


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else here / "registry"))
