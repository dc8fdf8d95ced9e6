"""How epochs of the stake ledger are closed and settled, and how accounts claim what they earned.

A part of the state in ledger_state.py. Of epoch e a coordinator's log is closed in e + 1: which leaves
belong to it. A quorum of checkers then says what the epoch came to, within what the ledger knows
itself; and when it counts, accounts claim by proofs from a tree of what they earned in all epochs.
"""
import base64

import receipts
import schnorr
from documents import Refused
from ledger_rules import LATE_EPOCHS_MAX, SUPPLY_MAX, WHOLE, record_of
from ledger_values import cbor
from ledger_votes import need
from translog import SIZE_MAX, hashed, inclusion_length, inclusion_root, leaf_of

FREE, STAKE, ESCROW = range(3)  # What tokens become when they are done unbonding.


def signed(key, message, signature):
    """Whether a key signed under the context that stock tools have, as logs and cosigners do."""
    try:
        receipts.verify(key, message, signature, "signature")
    except Refused:
        return False
    return True


def document_of(genesis, fields):
    """A settlement as checkers sign it."""
    return cbor((genesis, fields["epoch"], fields["input"], fields["output"], fields["minted"],
                 fields["treasury"], fields["paid"], (fields["accounts"], fields["earned"]),
                 fields["charge"], fields["replaces"]))


def check_sums(fields):
    spent = sum(taken for _, taken, _ in fields["charge"])
    burned = sum(lost for _, _, lost in fields["charge"])
    need(all(0 < taken and lost <= taken for _, taken, lost in fields["charge"]), "rule sums")
    need(max(fields["minted"], fields["treasury"], fields["paid"], spent) <= SUPPLY_MAX, "rule sums")
    need(fields["treasury"] <= fields["minted"], "rule sums")
    need(fields["paid"] + fields["treasury"] + burned == fields["minted"] + spent, "rule sums")
    return spent, burned


class Settling:
    """What a state has for it: `settled`, the epoch to be settled next; `closings` by coordinator and
    epoch; `settlements` by epoch; `former_rules` of rewards, by the last epoch in which they held."""

    def begin_settling(self):
        self.rewards = self.settled = 0
        self.closings, self.settlements, self.former_rules = {}, {}, {}

    # --- Closing.

    def do_close_epoch(self, key, payer, fields, _):
        epoch, size, coordinator = fields["epoch"], fields["size"], fields["coordinator"]
        need(epoch + 1 == self.epoch, "epoch")
        need(epoch >= self.settled, "rule already-settled")
        node = self.node(coordinator)
        need(node["role"] == "coordinator", "rule no-coordinator")
        need((coordinator, epoch) not in self.closings, "rule closed")
        # The log is named by the keys of the epoch that is closed.
        named_by, log = next((one["keys"] for one in node["former_keys"]
                              if epoch <= one["last_epoch"]), node["keys"])
        before = [closing for (whose, _), closing in sorted(self.closings.items())
                  if whose == coordinator]
        goes_on = before and before[-1]["node_key"] == named_by
        first = before[-1]["size"] if goes_on else 0
        need(size >= first, "rule smaller-log")
        origin = f"adit/{self.genesis.hex()[:16]}/{named_by.hex()}/blake3"
        checkpoint = f"{origin}\n{size}\n{base64.b64encode(fields['root']).decode()}\n"
        own = size <= SIZE_MAX and signed(log, checkpoint.encode(), fields["signature"])
        need(own, "rule log-signature")
        by_name = {node["name"]: node for node in self.checkers().values()}
        stake = 0
        for name, time, signature in fields["cosignature"]:
            need(name in by_name, "rule no-checker")
            message = f"mirror/v1\ntime {time}\ncosigner {name}\n{checkpoint}".encode()
            fits = time < 1 << 63 and signed(by_name[name]["keys"][1], message, signature)
            need(fits, "rule checker-signature")
            stake += by_name[name]["stake"]
        self.check_quorum(stake)
        self.closings[coordinator, epoch] = {
            "first": first, "size": size, "root": fields["root"], "node_key": named_by}

    def checkers(self):
        """Those whose signatures count."""
        return {key: node for key, node in self.nodes.items()
                if node["role"] == "checker" and self.takes_part(node)}

    def check_quorum(self, stake, but=None):
        """Whether so much stake of checkers is a quorum; `but` is one that is not asked."""
        total = sum(node["stake"] for key, node in self.checkers().items() if key != but)
        needed = total * self.parameters["rewards"]["quorum_ppm"]
        need(stake > 0 and stake * WHOLE >= needed, "quorum")

    def check_attested(self, context, document, attestations, but=None):
        """Whether a quorum signed a document by their node keys."""
        checkers, stake = self.checkers(), 0
        for checker, signature in attestations:
            need(checker in checkers and checker != but, "rule no-checker")
            node = checkers[checker]
            need(schnorr.verified(context, document, node["keys"][0], signature),
                 "rule checker-signature")
            stake += node["stake"]
        self.check_quorum(stake, but)

    # --- Settling.

    def do_settle(self, key, payer, fields, _):
        before = self.check_turn(fields["epoch"])
        document = document_of(self.genesis, fields)
        name = hashed(document)
        need(before is None or before["hash"] != name, "rule settled-so")
        need(fields["replaces"] == (before and before["hash"]), "rule replaces")
        _, burned = check_sums(fields)
        self.check_bounds(fields, burned, before)
        self.check_attested(b"adit-settlement-v1", document, fields["attestation"])
        if before:
            self.take_back(before)
        for coordinator, taken, _ in fields["charge"]:
            self.charge(coordinator, taken)
        self.issued += fields["minted"]
        self.burned += burned
        self.treasury += fields["treasury"]
        self.rewards += fields["paid"]
        self.settled = fields["epoch"] + 1
        self.settlements[fields["epoch"]] = {
            "hash": name, "in_epoch": self.epoch,
            # Whole epochs, of which this one is none.
            "from_epoch": self.epoch + 1 + self.parameters["rewards"]["challenge_epochs"],
            "minted": fields["minted"], "treasury": fields["treasury"], "paid": fields["paid"],
            "earned": (fields["accounts"], fields["earned"]), "charges": fields["charge"]}
        self.settle_late(fields["epoch"])
        self.forget_settled()

    def check_turn(self, epoch):
        """Whether the epoch comes to be settled; the settlement of it that can be replaced."""
        need(epoch < self.epoch, "epoch")
        if epoch < self.settled:
            last = self.settlements.get(epoch)
            need(epoch + 1 == self.settled and last and last["from_epoch"] > self.epoch, "epoch")
            return last
        open = [closed for _, closed in self.closings if closed >= self.settled] + self.owed()
        need(open, "rule nothing-closed")
        need(min(open) >= epoch, "rule order")
        need(min(open) == epoch, "rule nothing-closed")
        for key, node in self.nodes.items():
            takes_part = node["role"] == "coordinator" and self.takes_part(node)
            in_time = epoch + 1 == self.epoch
            need(not (takes_part and in_time) or (key, epoch) in self.closings, "rule early")
        return None

    def check_bounds(self, fields, burned, before):
        rules = self.reward_rules(fields["epoch"])
        shares, emission = rules["shares"], rules["emission"]
        issued = self.issued - (before["minted"] if before else 0)
        if before:
            need(self.treasury >= before["treasury"], "insufficient")
            need(self.rewards >= before["paid"], "insufficient")
        need(fields["minted"] <= min(emission, SUPPLY_MAX - issued), "rule emission")
        # A unit may be left over of each division.
        need(fields["treasury"] <= emission * shares["treasury"] // WHOLE + 1, "rule emission")
        # Miners get k of what was burned, and voters as much more as their share is to the miners'.
        by_fees = burned * rules["slice_of_fees_ppm"] // WHOLE
        both = shares["miners"] + shares["voters"]
        most = by_fees * both // shares["miners"] if shares["miners"] else 0
        others = fields["minted"] - fields["treasury"]
        need(others <= most + len(fields["charge"]) + 1, "rule emission")
        given_back = {node: taken for node, taken, _ in before["charges"]} if before else {}
        for coordinator, taken, _ in fields["charge"]:
            node = self.node(coordinator)
            need(node["role"] == "coordinator", "rule no-coordinator")
            there = node["escrow"] + sum(self.unbonding[key] for key in self.escrows(coordinator))
            need(taken <= there + given_back.get(coordinator, 0), "insufficient")

    def escrows(self, coordinator):
        """Where its escrow unbonds, in the order in which it is released."""
        return sorted(key for key in self.unbonding if key[2:] == (coordinator, ESCROW))

    def charge(self, coordinator, amount):
        node = self.nodes[coordinator]
        taken = min(node["escrow"], amount)
        node["escrow"] -= taken
        for key in self.escrows(coordinator):
            amount -= taken
            taken = min(self.unbonding[key], amount)
            self.unbonding[key] -= taken
            if self.unbonding[key] == 0:
                del self.unbonding[key]

    def take_back(self, before):
        self.issued -= before["minted"]
        self.burned -= sum(lost for _, _, lost in before["charges"])
        self.treasury -= before["treasury"]
        self.rewards -= before["paid"]
        for coordinator, taken, _ in before["charges"]:
            self.nodes[coordinator]["escrow"] += taken

    def owes(self, coordinator):
        """Whether leaves of its log wait to be settled, or receipts that its log lacks."""
        return self.owes_late(coordinator) or any(
            whose == coordinator and epoch >= self.settled for whose, epoch in self.closings)

    def forget_settled(self):
        # Late receipts are missed in a log as it was closed some epochs ago, or last before that.
        kept = min(max(0, self.epoch - LATE_EPOCHS_MAX), self.settled)
        newest, last = {}, {}
        for (coordinator, epoch), closing in sorted(self.closings.items()):
            newest[coordinator] = epoch
            if epoch < kept:
                last[coordinator, closing["node_key"]] = epoch

        def needed(coordinator, epoch, closing):
            key = closing["node_key"]
            if epoch >= kept or epoch == newest[coordinator]:
                return True
            return epoch == last[coordinator, key] and key in self.keys_of(coordinator)

        self.closings = {(coordinator, epoch): closing
                         for (coordinator, epoch), closing in self.closings.items()
                         if needed(coordinator, epoch, closing)}
        counts = self.counting() or 0
        self.settlements = {epoch: one for epoch, one in self.settlements.items()
                            if epoch >= counts or one["in_epoch"] > self.settled}
        # The last settlement can be replaced yet, by the same rules.
        self.former_rules = {epoch: rules for epoch, rules in self.former_rules.items()
                             if epoch + 1 >= self.settled}

    # --- Rules.

    def remember_rules(self, changed):
        """Before other parameters take effect with this epoch."""
        rules = self.parameters["rewards"]
        if rules != changed["rewards"]:
            self.former_rules.setdefault(self.epoch - 1, rules)

    def reward_rules(self, epoch):
        """Those at the epoch's end."""
        last = min((last for last in self.former_rules if last >= epoch), default=None)
        return self.parameters["rewards"] if last is None else self.former_rules[last]

    # --- Claiming.

    def counting(self):
        """The epoch of the newest settlement that counts."""
        return max((epoch for epoch, one in self.settlements.items()
                    if one["from_epoch"] <= self.epoch), default=None)

    def claimable(self, key, fields):
        epoch = self.counting()
        need(epoch is not None, "rule no-rewards")
        size, root = self.settlements[epoch]["earned"]
        total, index, proof = fields["total"], fields["index"], fields["proof"]
        need(index < size <= SIZE_MAX, "rule claim-proof")
        need(len(proof) == inclusion_length(index, size), "rule claim-proof")
        leaf = leaf_of(key + total.to_bytes(16, "little"))
        need(inclusion_root(leaf, index, size, proof) == root, "rule claim-proof")
        claimed = self.account(key)["claimed"]
        need(total > claimed, "nothing")
        need(total - claimed <= self.rewards, "insufficient")
        return total - claimed

    def do_claim(self, key, payer, fields, _):
        # The payer has the tokens already: the fee may be of them.
        self.rewards -= fields["total"] - payer["claimed"]
        payer["claimed"] = fields["total"]

    # --- Entries of the state.

    def settling_entries(self):
        entries = {b"\6" + node + epoch.to_bytes(8, "big"): tuple(closing.values())
                   for (node, epoch), closing in self.closings.items()}
        entries |= {b"\7" + epoch.to_bytes(8, "big"): tuple(one.values())
                    for epoch, one in self.settlements.items()}
        return entries | {b"\10" + epoch.to_bytes(8, "big"): record_of(rules)
                          for epoch, rules in self.former_rules.items()}
