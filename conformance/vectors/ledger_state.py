"""The stake ledger: what blocks and transactions do to it, and its state as a Merkle tree.

Amounts are whole numbers of 10^-12 token. A transaction is either done whole or refused, and a
refusal changes nothing: each action looks at all that can refuse it before it changes anything. The
account that pays is changed as a copy, which becomes the account at the end.
"""
import copy

import ledger_late
import ledger_misdeeds
import ledger_votes
from documents import Record, Refused, amount, decode_as, u
from ledger_index import Index
from ledger_rules import SUPPLY_MAX, record_of
from ledger_settling import ESCROW, FREE, STAKE, Settling
from ledger_texts import new_keys, profile
from ledger_values import cbor
from ledger_votes import need
from translog import (
    check_length, hash_named, inclusion_length, inclusion_root, leaf_of, node_of, split)

AHEAD_MS_MAX = 24 * 3600 * 1000
VOTES_MAX, NODES_MAX = 64, 16384
ROLES = ["miner", "coordinator", "checker"]
NONE = bytes(32)
ACCOUNT = ["free", "stake", "number", "votes", "faucet", "faucet_epoch", "claimed"]


def plain(value):
    """Parameters as their reader returns them, with numbers for numbers and bytes for hashes."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if value is None or isinstance(value, int):
        return value
    return hash_named(value) if value.startswith("blake3:") else int(value)


class State(ledger_votes.Votes, ledger_misdeeds.Misdeeds, ledger_late.Late, Settling,
            Index):
    def __init__(self, genesis, network, ledger):
        """Before the first block; the documents are as their readers return them."""
        self.genesis = genesis
        self.created_ms, self.epoch_ms = int(network["created_ms"]), int(network["epoch_ms"])
        self.height, self.time_ms, self.epoch = 0, self.created_ms, 0
        self.parameters = plain(ledger["parameters"])
        self.accounts, self.nodes, self.taken, self.votes, self.unbonding = {}, {}, {}, {}, {}
        self.begin_index()
        for one in ledger["allocations"]:
            account = bytes.fromhex(one["account"][2:])
            self.accounts[account] = self.account(account) | {"free": int(one["amount"])}
        self.issued = sum(account["free"] for account in self.accounts.values())
        self.burned = self.faucet_given = self.treasury = 0
        self.begin_votes()
        self.begin_misdeeds()
        self.begin_late()
        self.begin_settling()

    def account(self, key):
        return dict(self.accounts.get(key) or dict.fromkeys(ACCOUNT, 0))

    def epoch_at(self, time_ms):
        return max(0, time_ms - self.created_ms) // self.epoch_ms

    # --- Blocks.

    def begin_block(self, time_ms):
        need(time_ms >= self.time_ms, "time")
        self.height, self.time_ms = self.height + 1, time_ms
        epoch = self.epoch_at(time_ms)
        if epoch == self.epoch:
            return
        last = self.epoch
        self.remember_before_release(epoch)
        self.epoch, self.faucet_given = epoch, 0
        self.turn_reports(last)
        self.turn_late(last)
        for key in sorted(key for key in self.unbonding if key[0] <= epoch):
            _, account, node, to = key
            if to == ESCROW and self.owes(node):
                later = epoch + 1, account, node, to
                self.unbonding[later] = self.unbonding.get(later, 0) + self.unbonding.pop(key)
                continue
            self.accounts.setdefault(account, self.account(account))
            self.accounts[account]["stake" if to == STAKE else "free"] += self.unbonding.pop(key)
        for node in self.nodes.values():
            node["former_keys"] = [one for one in node["former_keys"]
                                   if one["until_epoch"] > self.epoch]
            if node["next_keys"]:
                # They are forgotten when what stood behind the node can be gone.
                node["former_keys"].append({
                    "keys": node["keys"], "last_epoch": self.epoch - 1,
                    "until_epoch": self.after(self.parameters["unbonding_epochs"])})
                node["keys"], node["next_keys"] = node["next_keys"], None
            if node["next_commission_ppm"] is not None:
                node["profile"]["commission_ppm"] = node["next_commission_ppm"]
                node["next_commission_ppm"] = None
        self.turn_proposals()
        self.turn_stakes()

    # --- Transactions.

    def apply(self, transaction):
        """Does what a transaction says whose signatures hold."""
        need(transaction["genesis"] == self.genesis, "other-network")
        need(transaction["expires"] >= self.time_ms, "expired")
        need(transaction["expires"] - self.time_ms <= AHEAD_MS_MAX, "too-far-ahead")
        key, action, fields = (transaction[name] for name in ("account", "action", "fields"))
        payer = self.account(key)
        need(transaction["number"] == payer["number"], "number")
        need(transaction["fee"] >= self.least_fee(action, fields), "fee")
        staked = self.staked(key)
        payer["number"] += 1
        if action == "claim":
            payer["free"] += self.claimable(key, fields)
        self.take(payer, "free", transaction["fee"])
        if "amount" in fields:
            need(fields["amount"] > 0, "nothing")
        getattr(self, "do_" + action.replace("-", "_"))(key, payer, fields, transaction)
        self.burned += transaction["fee"]
        self.accounts[key] = payer
        if self.staked(key) != staked:
            self.stakes.setdefault((key, self.epoch), staked)

    @staticmethod
    def take(holder, place, needed):
        need(holder[place] >= needed, "insufficient")
        holder[place] -= needed

    def do_transfer(self, key, payer, fields, _):
        need(fields["to"] != key, "rule to-itself")
        self.take(payer, "free", fields["amount"])
        receiver = self.accounts.setdefault(fields["to"], self.account(fields["to"]))
        receiver["free"] += fields["amount"]

    def do_faucet(self, key, payer, fields, _):
        if payer["faucet_epoch"] != self.epoch:
            payer["faucet"], payer["faucet_epoch"] = 0, self.epoch
        given = fields["amount"]
        need(payer["faucet"] + given <= self.parameters["faucet_account"], "faucet")
        need(self.faucet_given + given <= self.parameters["faucet_epoch"], "faucet")
        need(self.issued + given <= SUPPLY_MAX, "faucet")
        payer["faucet"] += given
        payer["free"] += given
        self.faucet_given += given
        self.issued += given

    def do_stake(self, key, payer, fields, _):
        self.take(payer, "free", fields["amount"])
        payer["stake"] += fields["amount"]

    def do_unstake(self, key, payer, fields, _):
        if fields["from"] is None:
            self.take(payer, "stake", fields["amount"])
        else:
            self.take_votes(key, payer, fields["from"], fields["amount"])
        self.unbond(key, fields["from"] or NONE, FREE, fields["amount"])

    def do_vote(self, key, payer, fields, _):
        need(not self.node(fields["node"])["leaving"], "rule leaving")
        self.give_votes(key, payer, fields["node"], fields["amount"])

    def do_unvote(self, key, payer, fields, _):
        self.take_votes(key, payer, fields["node"], fields["amount"])
        self.unbond(key, fields["node"], STAKE, fields["amount"])

    def check_votes(self, key, payer, node, given):
        need(payer["stake"] >= given, "insufficient")
        if (node, key) not in self.votes:
            # What is there already may grow by less.
            need(given >= self.parameters["vote_min"], "rule small-vote")
            need(payer["votes"] < VOTES_MAX, "rule many-votes")

    def give_votes(self, key, payer, node, given):
        self.check_votes(key, payer, node, given)
        payer["stake"] -= given
        payer["votes"] += (node, key) not in self.votes
        self.votes[node, key] = self.votes.get((node, key), 0) + given
        self.nodes[node]["stake"] += given

    def take_votes(self, key, payer, node, taken):
        self.node(node)
        left = self.votes.get((node, key), 0) - taken
        need(left >= 0, "insufficient")
        need(left == 0 or left >= self.parameters["vote_min"], "rule small-vote")
        if left:
            self.votes[node, key] = left
        else:
            del self.votes[node, key]
            payer["votes"] -= 1
        self.nodes[node]["stake"] -= taken

    def unbond(self, key, node, to, tokens):
        """Tokens are released when as many whole epochs are over as the rules say."""
        place = self.epoch + 1 + self.parameters["unbonding_epochs"], key, node, to
        self.unbonding[place] = self.unbonding.get(place, 0) + tokens

    # --- Nodes.

    def node(self, key):
        need(key in self.nodes, "no-node")
        return self.nodes[key]

    def operated(self, node, key):
        need(self.node(node)["operator"] == key, "not-operator")
        return self.nodes[node]

    def check_keys(self, role, keys, operator):
        node, log = keys
        need((log is None) == (role == "miner"), "rule role-keys")
        need(len({operator, node, log}) == 3, "rule same-keys")
        need(node not in self.taken and not self.accounts.get(node, {}).get("number"), "key-taken")

    @staticmethod
    def check_profile(role, said):
        if role != "miner":
            need(said["url"] is not None, "rule no-url")
            need(said["service"] is None, "rule no-service")

    def do_register(self, key, payer, fields, transaction):
        role, name, bond, said = fields["role"], fields["name"], fields["bond"], profile(fields)
        keys = new_keys(transaction)
        self.check_keys(role, keys, key)
        self.check_profile(role, said)
        need((name is not None) == (role == "checker"), "rule name")
        same_role = [node for node in self.nodes.values() if node["role"] == role]
        need(name is None or all(node["name"] != name for node in same_role), "rule name-taken")
        need(sum(not node["leaving"] for node in same_role) < NODES_MAX, "rule full")
        need(bond >= self.parameters[role + "_stake_min"], "bond")
        node = fields["node"]
        self.check_votes(key, payer, node, bond)
        self.nodes[node] = {
            "role": role, "operator": key, "keys": keys, "next_keys": None, "name": name,
            "profile": said, "next_commission_ppm": None, "stake": 0, "escrow": 0, "leaving": False,
            "former_keys": [], "jailed": None}
        self.taken[node] = node
        self.give_votes(key, payer, node, bond)

    def do_update(self, key, payer, fields, _):
        node, said = self.operated(fields["node"], key), profile(fields)
        self.check_profile(node["role"], said)
        need(not node["leaving"], "rule leaving")
        # Another commission counts from the next epoch on.
        now, then = node["profile"]["commission_ppm"], said["commission_ppm"]
        node["next_commission_ppm"] = None if now == then else then
        node["profile"] = said | {"commission_ppm": now}

    def do_rotate_key(self, key, payer, fields, transaction):
        node, keys = self.operated(fields["node"], key), new_keys(transaction)
        need(not node["leaving"], "rule leaving")
        need(node["next_keys"] is None, "rule rotating")
        self.check_keys(node["role"], keys, key)
        node["next_keys"] = keys
        self.taken[keys[0]] = fields["node"]

    def do_deregister(self, key, payer, fields, _):
        node = self.operated(fields["node"], key)
        need(not node["leaving"], "rule leaving")
        node["leaving"] = True

    def do_deposit(self, key, payer, fields, _):
        node = self.node(fields["node"])
        need(node["role"] == "coordinator", "rule no-coordinator")
        need(not node["leaving"], "rule leaving")
        self.take(payer, "free", fields["amount"])
        node["escrow"] += fields["amount"]

    def do_withdraw(self, key, payer, fields, _):
        node = self.node(fields["node"])
        need(node["role"] == "coordinator", "rule no-coordinator")
        self.operated(fields["node"], key)
        self.take(node, "escrow", fields["amount"])
        self.unbond(key, fields["node"], ESCROW, fields["amount"])

    # --- The state as a tree: its entries ascending by key, each as length of the key ‖ key ‖ value.

    def leaves(self):
        def said(one):
            service = one["service"] and tuple(one["service"].values())
            return tuple(service if name == "service" else value for name, value in one.items())

        entries = {b"\0": (self.genesis, self.height, self.time_ms, self.epoch, self.issued,
                           self.burned, self.faucet_given, record_of(self.parameters),
                           self.treasury, self.rewards, self.settled, self.staked_now)}
        for key, account in self.accounts.items():
            entries[account_key(key)] = tuple(account[name] for name in ACCOUNT)
        for key, node in self.nodes.items():
            # The fields of a node in the order of their keys.
            entries[b"\2" + key] = tuple(
                ROLES.index(value) if name == "role" else said(value) if name == "profile"
                else ledger_misdeeds.jailed_fields(value) if name == "jailed"
                else [tuple(one.values()) for one in value] if name == "former_keys" else value
                for name, value in node.items())
        for key, node in self.taken.items():
            entries[b"\3" + key] = node
        for (node, voter), votes in self.votes.items():
            entries[b"\4" + node + voter] = votes
        for (until, account, node, to), tokens in self.unbonding.items():
            entries[b"\5" + until.to_bytes(8, "big") + account + node + bytes([to])] = tokens
        entries |= self.index_entries() | self.settling_entries()
        entries |= self.vote_entries() | self.misdeed_entries() | self.late_entries()
        return [bytes([len(key)]) + key + cbor(value) for key, value in sorted(entries.items())]

    def root(self):
        leaves = [leaf_of(leaf) for leaf in self.leaves()]
        return len(leaves), tree_root(leaves)

    def supply(self):
        """All tokens by where they are; together they are what was issued and not burned."""
        def unbonding(escrow):
            return sum(tokens for key, tokens in self.unbonding.items() if (key[3] == ESCROW) == escrow)

        return {"free": sum(account["free"] for account in self.accounts.values()),
                "stake": sum(account["stake"] for account in self.accounts.values()),
                "votes": sum(self.votes.values()), "unbonding": unbonding(False),
                "escrow": sum(node["escrow"] for node in self.nodes.values()),
                "escrow_unbonding": unbonding(True), "treasury": self.treasury,
                "rewards": self.rewards, "deposits": (self.deposits() + self.report_deposits()
                                                 + self.late_deposits())}

    def copy(self):
        return copy.deepcopy(self)


def tree_root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    left = split(len(leaves))
    return node_of(tree_root(leaves[:left]), tree_root(leaves[left:]))


def account_key(key):
    return b"\1" + key


# --- Proofs of an account.

ACCOUNT_VALUE = Record(free=amount, stake=amount, number=u(64), votes=u(32), faucet=amount,
                       faucet_epoch=u(64), claimed=amount), 256, 16, 16


def proven(account, entries, size, root):
    """What entries that are in the tree say of an account: its value, or `None` if it is not there."""
    leaves = []
    for entry in entries:
        index, leaf = int(entry["index"]), bytes.fromhex(entry["leaf"][2:])
        proof = [hash_named(name) for name in entry["proof"]]
        try:
            need(index < size, "index")
            check_length(inclusion_length(index, size), proof)
            need(inclusion_root(leaf_of(leaf), index, size, proof) == root, "root")
        except Refused:
            raise Refused("proof")
        need(leaf and len(leaf) > leaf[0], "other")
        leaves.append((index, leaf[1:1 + leaf[0]], leaf[1 + leaf[0]:]))
    wanted = account_key(account)
    if len(leaves) == 1 and leaves[0][1] == wanted:
        return decode_as(ACCOUNT_VALUE, leaves[0][2])
    if len(leaves) == 1:  # Nothing comes after the last entry of all.
        index, key, _ = leaves[0]
        need(index + 1 == size and key < wanted, "other")
    else:
        need(len(leaves) == 2, "other")
        (before, low, _), (after, high, _) = leaves
        need(before + 1 == after and low < wanted < high, "other")
    return None
