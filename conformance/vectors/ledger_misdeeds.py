"""Misdeeds of nodes in a stake ledger: what proves them, what checkers judge, what they cost.

Two signatures that contradict each other prove a misdeed by themselves. For the rest somebody
accuses, and a verdict takes a quorum of the checkers' stake. What is taken is taken of the votes for
the node and of what unbonds from it, of each the whole units.
"""
import base64

import blake3

import receipts
from documents import Refused, name_of
from ledger_rules import WHOLE
from ledger_texts import js
from ledger_values import cbor
from ledger_votes import need
from translog import tohex

MISDEEDS = ["equivocation", "log-fork", "wrong-execution", "missing-receipt", "not-serving",
            "judgement"]
MINERS, COORDINATORS, CHECKERS = {"miner"}, {"coordinator"}, {"checker"}
WHO = dict(zip(MISDEEDS, (MINERS, COORDINATORS, MINERS, COORDINATORS, MINERS | COORDINATORS,
                          MINERS | COORDINATORS | CHECKERS)))
TO_ESCROW = 2
REPORT = ["reporter", "node", "misdeed", "evidence", "deposit", "until_epoch", "verdict_ppm",
          "appeal", "decided"]


def part(tokens, ppm):
    return tokens * ppm // WHOLE


def once(misdeed, evidence):
    """What stands for one misdeed of a node."""
    return blake3.blake3(bytes([MISDEEDS.index(misdeed)]) + evidence).digest()


def forked():
    return once("log-fork", bytes(32))


def claim(genesis, fields):
    """The key that the misdeed was done with, and what makes it one; `None` if it is none."""
    if fields["misdeed"] == "log-fork":
        return (fields["key"], bytes(32)) if fields["first-root"] != fields["second-root"] else None
    both = fields["first"], fields["second"]
    try:
        for one in both:
            receipts.parsed(one + bytes(64))
    except Refused:
        return None
    first, second = (one[:392] for one in both)
    # Network, miner, assignment.
    same = all(first[at:to] == second[at:to] for at, to in ((8, 12), (72, 104), (168, 200)))
    if first == second or not same or first[8:12] != genesis[:4]:
        return None
    return first[72:104], first[168:200]


def signed(genesis, fields, key, log):
    """The key, message and signature of both sides."""
    if fields["misdeed"] == "equivocation":
        return [(key, one[:392], one[392:]) for one in (fields["first"], fields["second"])]
    origin = f"adit/{genesis[:8].hex()}/{key.hex()}/blake3"

    def text(root):
        return f"{origin}\n{fields['size']}\n{base64.b64encode(root).decode()}\n".encode()

    return [(log, text(fields[side + "-root"]), fields[side + "-signature"])
            for side in ("first", "second")]


class Misdeeds:
    """What a state has of misdeeds."""

    def begin_misdeeds(self):
        self.reports, self.misdeeds = {}, {}

    def after(self, epochs):
        """The epoch that begins when so many whole ones from the next on are over."""
        return self.epoch + 1 + epochs

    def keys_of(self, name):
        """The node keys for which a node answers, each with its log key."""
        node = self.nodes[name]
        return dict([one["keys"] for one in node["former_keys"]] + [node["keys"]])

    def takes_part(self, node):
        least = self.parameters[node["role"] + "_stake_min"]
        return not node["jailed"] and not node["leaving"] and node["stake"] >= least

    # --- What proves itself.

    def do_report(self, key, payer, fields, transaction):
        name, misdeed = fields["node"], fields["misdeed"]
        node = self.node(name)
        need(node["role"] in WHO[misdeed], "rule other-role")
        claimed = claim(self.genesis, fields)
        need(claimed, "rule no-evidence")
        by, what = claimed
        pairs = self.keys_of(name)
        need(by in pairs, "rule other-key")
        log = pairs[by]
        place = by, once(misdeed, what)
        need(place not in self.misdeeds, "rule reported")
        ppm = self.parameters["slashing"]["fraction_ppm"]
        try:
            for signer, message, signature in signed(self.genesis, fields, by, log):
                receipts.verify(signer, message, signature, "signature")
        except Refused:
            raise Refused("rule no-evidence")
        need(sum(map(sum, (cuts.values() for cuts in self.cuts(name, ppm)))), "rule nothing-at-stake")
        self.misdeeds[place] = transaction["id"]
        self.accounts[key] = payer
        self.punish(name, misdeed, ppm, key, self.epoch)

    # --- What it costs.

    def cuts(self, name, ppm):
        """Of votes by voter, of what unbonds by its place."""
        votes = {voter: part(tokens, ppm) for (node, voter), tokens in self.votes.items()
                 if node == name}
        unbonding = {at: part(tokens, ppm) for at, tokens in self.unbonding.items()
                     if at[2] == name and at[3] != TO_ESCROW}
        return votes, unbonding

    def punish(self, name, misdeed, ppm, reporter, as_of):
        node, (votes, unbonding) = self.nodes[name], self.cuts(name, ppm)
        for voter, cut in votes.items():
            if not cut:
                continue
            self.stakes.setdefault((voter, as_of), self.staked(voter))
            self.votes[name, voter] -= cut
            node["stake"] -= cut
            if not self.votes[name, voter]:
                del self.votes[name, voter]
                self.accounts[voter]["votes"] -= 1
        for at, cut in unbonding.items():
            self.unbonding[at] -= cut
            if not self.unbonding[at]:
                del self.unbonding[at]
        taken = sum(votes.values()) + sum(unbonding.values())
        own = reporter == node["operator"]
        shared = self.parameters["slashing"]["reporter_ppm"]
        if misdeed == "judgement" or own:
            shared = 0
        reward = part(taken, shared)
        if reward:
            self.give(reporter, reward)
        self.burned += taken - reward
        node["jailed"] = {"misdeed": misdeed,
                          "until_epoch": self.after(self.parameters["unbonding_epochs"])}

    def do_unjail(self, key, payer, fields, _):
        node = self.operated(fields["node"], key)
        need(node["jailed"], "rule not-jailed")
        need(not node["leaving"], "rule leaving")
        need(self.epoch >= node["jailed"]["until_epoch"], "rule still-jailed")
        # A log with two ends goes on under another key.
        need(node["role"] != "coordinator" or (node["keys"][0], forked()) not in self.misdeeds,
             "rule forked-log")
        need(node["stake"] >= self.parameters[node["role"] + "_stake_min"], "bond")
        node["jailed"] = None

    # --- What checkers judge.

    def do_accuse(self, key, payer, fields, transaction):
        name, misdeed, evidence = (fields[field] for field in ("node", "misdeed", "evidence"))
        need(self.node(name)["role"] in WHO[misdeed], "rule other-role")
        place = name, once(misdeed, evidence)
        need(place not in self.misdeeds, "rule reported")
        deposit = self.parameters["slashing"]["deposit"]
        self.take(payer, "free", deposit)
        self.misdeeds[place] = transaction["id"]
        self.reports[transaction["id"]] = dict(zip(REPORT, (
            key, name, misdeed, evidence, deposit, self.after(self.parameters["unbonding_epochs"]),
            None, None, False)))

    def open_report(self, number):
        need(number in self.reports, "no-report")
        return self.reports[number]

    def do_verdict(self, key, payer, fields, _):
        number, ppm = fields["report"], fields.get("fraction")
        report = self.open_report(number)
        appealed = report["appeal"] is not None
        need(not report["decided"] and (report["verdict_ppm"] is None or appealed), "rule judged")
        rules = self.parameters["slashing"]
        need(ppm is None or 0 < ppm <= rules["fraction_ppm"], "rule fraction")
        finding = cbor((self.genesis, number, appealed, ppm is not None, ppm or 0))
        # Nobody judges itself.
        self.check_attested(b"adit-verdict-v1", finding, fields["attestation"], report["node"])
        self.accounts[key] = payer
        operator = self.nodes[report["node"]]["operator"]
        if ppm is None:
            del self.reports[number]
            self.settle_deposit(report["reporter"], report["deposit"], False)
            self.settle_deposit(operator, report["appeal"], True)
            return
        self.settle_deposit(operator, report["appeal"], False)
        report |= {"verdict_ppm": ppm, "appeal": None, "decided": appealed,
                   "until_epoch": self.after(0 if appealed else rules["appeal_epochs"])}

    def do_appeal(self, key, payer, fields, _):
        report = self.open_report(fields["report"])
        self.operated(report["node"], key)
        need(report["verdict_ppm"] is not None and report["appeal"] is None
             and not report["decided"], "rule no-appeal")
        rules = self.parameters["slashing"]
        self.take(payer, "free", rules["deposit"])
        report |= {"appeal": rules["deposit"], "until_epoch": self.after(rules["appeal_epochs"])}

    def turn_reports(self, last):
        due = sorted((one["until_epoch"], number) for number, one in self.reports.items()
                     if one["until_epoch"] <= self.epoch)
        for _, number in due:
            report = self.reports.pop(number)
            if report["verdict_ppm"] is None:
                del self.misdeeds[report["node"], once(report["misdeed"], report["evidence"])]
            else:
                self.punish(report["node"], report["misdeed"], report["verdict_ppm"],
                            report["reporter"], last)
            self.settle_deposit(report["reporter"], report["deposit"], True)
            # The appeal was not heard, and the first verdict stands.
            self.settle_deposit(self.nodes[report["node"]]["operator"], report["appeal"], True)

    def report_deposits(self):
        return sum(one["deposit"] + (one["appeal"] or 0) for one in self.reports.values())

    # --- As entries of the state.

    def misdeed_entries(self):
        entries = {}
        for number, one in self.reports.items():
            said = one | {"misdeed": MISDEEDS.index(one["misdeed"])}
            entries[b"\x0d" + number] = tuple(said[name] for name in REPORT)
        for (key, misdeed), number in self.misdeeds.items():
            entries[b"\x0e" + key + misdeed] = number
        return entries


def jailed_fields(jailed):
    return jailed and (MISDEEDS.index(jailed["misdeed"]), jailed["until_epoch"])


def lists_json(state):
    def said(number, one):
        return {"id": name_of(number), "reporter": tohex(one["reporter"]),
                "node": tohex(one["node"]), "misdeed": one["misdeed"],
                "evidence": name_of(one["evidence"]), "deposit": str(one["deposit"]),
                "until_epoch": js(one["until_epoch"]), "verdict_ppm": one["verdict_ppm"],
                "appeal": None if one["appeal"] is None else str(one["appeal"]),
                "decided": one["decided"]}

    return {
        "reports": [said(number, one) for number, one in sorted(state.reports.items())],
        "misdeeds": [{"key": tohex(key), "misdeed": name_of(misdeed), "report": name_of(number)}
                     for (key, misdeed), number in sorted(state.misdeeds.items())]}
