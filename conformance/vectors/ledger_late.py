"""Countersigned receipts that a coordinator's log lacks: claims, answers, and what is owed.

A lease ends in epoch b, or in the epoch after that of its draw if that is later. When b + 1 is closed,
an honest log has a receipt of the assignment, or its expiry or cancellation; who misses all of them
can claim it. Whoever finds one of them in the log as it was closed by then answers, and gets what was
put down; without an answer the receipt is owed, and the coordinator is slashed once with each epoch,
unless b + 1 was never closed.
"""
import network
import receipts
import schnorr
from documents import Refused, decode_as, name_of
from ledger_rules import LATE_EPOCHS_MAX
from ledger_texts import js
from ledger_votes import need
from translog import SIZE_MAX, hash_named, hashed, inclusion_length, inclusion_root, leaf_of, tohex, unhex

CLAIM = ["claimant", "coordinator", "receipt", "terms", "log", "deposit", "until_epoch", "owed_epoch",
         "settled_epoch", "closed"]
TERMS = ["price", "attempt_fee", "replicas"]
PRICED = {"ok", "task-error", "trap", "out-of-fuel", "limit-exceeded"}
UNPAID = {"host-fault", "unavailable"}


def claimed(genesis, fields):
    """Receipt and assignment as JSON has them, if they are of this network and fit each other."""
    receipt = fields["receipt"] + fields["countersignature"]
    try:
        body = receipts.parsed(receipt)["body"]
        assignment = decode_as(network.BODIES["assignment"], fields["assignment"])
    except Refused:
        raise Refused("rule nothing-claimed")
    same = all(body[name] == assignment[name] for name in ("coordinator", "miner", "task", "epoch"))
    fits = (same and assignment["genesis"] == name_of(genesis) and receipt[8:12] == genesis[:4]
            and body["assignment"] == name_of(hashed(fields["assignment"])))
    need(fits and assignment["terms"] is not None, "rule nothing-claimed")
    return body, assignment


def is_signed(fields, coordinator):
    try:
        receipts.receipts(fields["receipt"] + fields["countersignature"], {})
    except Refused:
        return False
    return schnorr.verified(b"adit-assignment-v1", fields["assignment"], coordinator,
                            fields["assignment-signature"])


def answers(entry, receipt):
    """Whether an entry of a log says what became of the assignment of a receipt."""
    assignment = name_of(receipt[168:200])
    try:
        kind, value, raw = network.log_entry(entry)
        if kind == "receipt":
            receipts.receipts(raw, {})
            # Network; miner and coordinator; assignment.
            return all(raw[at:to] == receipt[at:to] for at, to in ((8, 12), (72, 136), (168, 200)))
    except Refused:
        return False
    if kind == "expiry":
        return value["assignment"] == assignment
    return kind == "cancel" and assignment in value["assignments"]


def included(entry, leaf, log, proof):
    size, root = log
    fits = leaf < size <= SIZE_MAX and len(proof) == inclusion_length(leaf, size)
    return fits and inclusion_root(leaf_of(entry), leaf, size, proof) == root


class Late:
    """What a state has of late receipts, by assignments."""

    def begin_late(self):
        self.late, self.claimed = {}, {}

    def do_late_receipt(self, key, payer, fields, _):
        name = fields["coordinator"]
        need(self.node(name)["role"] == "coordinator", "rule no-coordinator")
        body, assignment = claimed(self.genesis, fields)
        by, terms = unhex(body["coordinator"]), assignment["terms"]
        need(by in self.keys_of(name), "rule other-key")
        miner = self.nodes.get(self.taken.get(unhex(body["miner"])))
        status = body["status"]
        pay = 0 if status in UNPAID else int(terms["price" if status in PRICED else "attempt_fee"])
        need(miner and miner["role"] == "miner" and pay, "rule nothing-owed")
        ended = self.epoch_at(int(assignment["deadline_ms"]))
        last = max(int(body["epoch"]) + 1, ended) + 1
        first = last + 1
        closed = (name, last) in self.closings
        need(self.epoch > first or self.epoch == first and closed, "rule not-late")
        rules = self.parameters["slashing"]
        need(self.epoch - first < rules["late_epochs"], "rule too-late")
        number = hash_named(body["assignment"])
        need(number not in self.claimed, "rule claimed")
        self.take(payer, "free", rules["deposit"])
        need(is_signed(fields, by), "rule nothing-claimed")
        logs = [(epoch, one) for (whose, epoch), one in self.closings.items()
                if whose == name and epoch <= last and one["node_key"] == by]
        log = max(logs, key=lambda pair: pair[0])[1] if logs else None
        self.late[number] = dict(zip(CLAIM, (
            key, name, fields["receipt"] + fields["countersignature"],
            tuple(int(terms[name]) for name in TERMS), log and (log["size"], log["root"]),
            rules["deposit"], self.after(rules["answer_epochs"]), None, None, closed)))
        self.claimed[number] = first + LATE_EPOCHS_MAX

    def do_answer(self, key, payer, fields, _):
        number, entry = fields["assignment"], fields["entry"]
        claim = self.late.get(number)
        need(claim and claim["owed_epoch"] is None, "no-claim")
        need(claim["log"] and included(entry, fields["leaf"], claim["log"], fields["proof"]),
             "rule no-answer")
        need(answers(entry, claim["receipt"]), "rule no-answer")
        payer["free"] += claim["deposit"]
        del self.late[number]

    def turn_late(self, last):
        self.claimed = {number: until for number, until in self.claimed.items() if until > self.epoch}
        punished = set()
        for _, claim in sorted(self.late.items()):
            if claim["owed_epoch"] is not None or claim["until_epoch"] > self.epoch:
                continue
            deposit = claim["deposit"]
            claim |= {"owed_epoch": self.epoch, "deposit": 0}
            # Else the checkers may not have reached it.
            if claim["closed"] and claim["coordinator"] not in punished:
                punished.add(claim["coordinator"])
                self.punish(claim["coordinator"], "missing-receipt",
                            self.parameters["slashing"]["fraction_ppm"], claim["claimant"], last)
            self.settle_deposit(claim["claimant"], deposit, True)

    def owed(self):
        """Epochs with which late receipts can be settled."""
        return [claim["owed_epoch"] for claim in self.late.values()
                if claim["owed_epoch"] is not None and claim["settled_epoch"] is None]

    def owes_late(self, coordinator):
        return any(claim["coordinator"] == coordinator and claim["settled_epoch"] is None
                   for claim in self.late.values())

    def settle_late(self, epoch):
        """Those that stood by then are settled with this epoch; what was before cannot change now."""
        for claim in self.late.values():
            owed = claim["owed_epoch"]
            if owed is not None and owed <= epoch and claim["settled_epoch"] is None:
                claim["settled_epoch"] = epoch
        self.late = {number: claim for number, claim in self.late.items()
                     if claim["settled_epoch"] is None or claim["settled_epoch"] >= epoch}

    def late_deposits(self):
        return sum(claim["deposit"] for claim in self.late.values())

    def late_entries(self):
        entries = {b"\x0f" + number: tuple(claim.values()) for number, claim in self.late.items()}
        return entries | {b"\x10" + number: until for number, until in self.claimed.items()}


def lists_json(state):
    def said(number, claim):
        price, fee, replicas = claim["terms"]
        log = claim["log"] and {"size": js(claim["log"][0]), "root": name_of(claim["log"][1])}
        return {"assignment": name_of(number), "claimant": tohex(claim["claimant"]),
                "coordinator": tohex(claim["coordinator"]), "receipt": tohex(claim["receipt"]),
                "terms": {"price": str(price), "attempt_fee": str(fee), "replicas": replicas},
                "log": log, "deposit": str(claim["deposit"]), "until_epoch": claim["until_epoch"],
                "owed_epoch": claim["owed_epoch"], "settled_epoch": claim["settled_epoch"],
                "closed": claim["closed"]}

    return {
        "late_receipts": [said(number, claim) for number, claim in sorted(state.late.items())],
        "claimed": [{"assignment": name_of(number), "until_epoch": js(until)}
                    for number, until in sorted(state.claimed.items())]}
