"""Votes on the parameters of a stake ledger: proposals, ballots, and the stake that counts.

Who votes does so with what was staked when the proposal's epoch had begun. So at the first change in
an epoch the state remembers what an account had staked before; of that, what no proposal asks for is
forgotten when the next epoch begins.
"""
import copy

from documents import Refused, name_of
from ledger_rules import WHOLE, parameter_rules
from ledger_texts import js, spends_json
from translog import tohex

PROPOSALS_MAX, ENGINES_MAX = 32, 64
TO_STAKE = 1
PROPOSAL = ["proposer", "epoch", "title", "settings", "spends", "deposit", "staked", "yes", "no",
            "until_epoch", "effect_epoch"]


def need(condition, error):
    if not condition:
        raise Refused(error)


def changed(parameters, settings):
    """The parameters with these settings, if they fit together."""
    parameters = copy.deepcopy(parameters)
    for name, value, _ in settings:
        engines = parameters["engines"]
        if name == "engine-add":
            need(value not in engines, "settings")
            engines.append(value)
            engines.sort()
        elif name == "engine-remove":
            need(value in engines, "settings")
            engines.remove(value)
        else:
            *records, last = name.split(".")
            holder = parameters
            for record in records:
                holder = holder[record]
            holder[last] = value
    need(0 < len(parameters["engines"]) <= ENGINES_MAX, "settings")
    need(parameter_rules(parameters) is None, "settings")
    return parameters


class Votes:
    """What a state has of votes."""

    def begin_votes(self):
        self.stakes, self.proposals, self.ballots, self.staked_now = {}, {}, {}, 0

    # --- Stake.

    def staked(self, account):
        votes = sum(votes for (_, voter), votes in self.votes.items() if voter == account)
        return self.account(account)["stake"] + votes

    def staked_at(self, account, epoch):
        known = [at for whose, at in self.stakes if whose == account and at >= epoch]
        return self.stakes[account, min(known)] if known else self.staked(account)

    def asked(self):
        """The epochs of proposals that are voted on."""
        return [one["epoch"] for one in self.proposals.values() if one["effect_epoch"] is None]

    def remember_before_release(self, epoch):
        if self.asked():
            for until, account, _, to in self.unbonding:
                if until <= epoch and to == TO_STAKE:
                    self.stakes.setdefault((account, self.epoch), self.staked(account))

    def turn_stakes(self):
        asked, kept, last = self.asked(), {}, (None, 0)
        for account, epoch in sorted(self.stakes):
            after = last[1] + 1 if last[0] == account else 0
            if any(after <= one <= epoch for one in asked):
                kept[account, epoch] = self.stakes[account, epoch]
            last = account, epoch
        self.stakes = kept
        self.staked_now = (sum(account["stake"] for account in self.accounts.values())
                           + sum(self.votes.values()))

    # --- Proposals.

    def do_propose(self, key, payer, fields, transaction):
        changed(self.parameters, fields["set"])
        need(all(tokens for _, tokens in fields["spend"]), "nothing")
        need(len(self.proposals) < PROPOSALS_MAX, "rule many-proposals")
        rules = self.parameters["governance"]
        self.take(payer, "free", rules["deposit"])
        until = self.epoch + 1 + rules["voting_epochs"]
        self.proposals[transaction["id"]] = dict(zip(PROPOSAL, (
            key, self.epoch, fields["title"], fields["set"], fields["spend"], rules["deposit"],
            self.staked_now, 0, 0, until, None)))

    def do_ballot(self, key, payer, fields, _):
        number, yes = fields["proposal"], fields["choice"]
        need(number in self.proposals, "no-proposal")
        proposal = self.proposals[number]
        need(proposal["effect_epoch"] is None, "rule counted")
        need((number, key) not in self.ballots, "rule voted-already")
        weight = self.staked_at(key, proposal["epoch"])
        need(weight, "rule no-weight")
        proposal["yes" if yes else "no"] += weight
        self.ballots[number, key] = yes

    def turn_proposals(self):
        voted = [(one["until_epoch"], number) for number, one in self.proposals.items()
                 if one["effect_epoch"] is None and one["until_epoch"] <= self.epoch]
        waited = [(one["effect_epoch"], one["until_epoch"], number)
                  for number, one in self.proposals.items()
                  if one["effect_epoch"] is not None and one["effect_epoch"] <= self.epoch]
        for *_, number in sorted(voted):
            self.count(number)
        for *_, number in sorted(waited):
            self.enact(self.proposals.pop(number))

    def count(self, number):
        self.ballots = {at: yes for at, yes in self.ballots.items() if at[0] != number}
        proposal, rules = self.proposals[number], self.parameters["governance"]
        voted = proposal["yes"] + proposal["no"]
        quorum = voted and voted * WHOLE >= rules["quorum_ppm"] * proposal["staked"]
        accepted = quorum and proposal["yes"] * WHOLE >= rules["threshold_ppm"] * voted
        self.settle_deposit(proposal["proposer"], proposal["deposit"], quorum)
        proposal |= {"deposit": 0, "effect_epoch": self.epoch + rules["timelock_epochs"]}
        if not accepted:
            del self.proposals[number]

    def enact(self, proposal):
        """All of it, or nothing."""
        spent = sum(tokens for _, tokens in proposal["spends"])
        try:
            parameters = changed(self.parameters, proposal["settings"])
        except Refused:
            return
        if spent > self.treasury:
            return
        self.remember_rules(parameters)
        self.parameters, self.treasury = parameters, self.treasury - spent
        for account, tokens in proposal["spends"]:
            self.give(account, tokens)

    def give(self, account, tokens):
        self.accounts.setdefault(account, self.account(account))["free"] += tokens

    def settle_deposit(self, account, tokens, good):
        if tokens and good:
            self.give(account, tokens)
        elif tokens:
            self.treasury += tokens

    def deposits(self):
        return sum(one["deposit"] for one in self.proposals.values())

    # --- As entries of the state, and as JSON.

    def vote_entries(self):
        entries = {b"\x0a" + account + epoch.to_bytes(8, "big"): tokens
                   for (account, epoch), tokens in self.stakes.items()}
        for number, one in self.proposals.items():
            said = one | {"settings": [text for _, _, text in one["settings"]]}
            entries[b"\x0b" + number] = tuple(said[name] for name in PROPOSAL)
        for (number, account), yes in self.ballots.items():
            entries[b"\x0c" + number + account] = yes
        return entries


def lists_json(state):
    def said(number, one):
        amounts = {name: str(one[name]) for name in ("deposit", "staked", "yes", "no")}
        epochs = {name: js(one[name]) for name in ("epoch", "until_epoch", "effect_epoch")}
        return {"id": name_of(number), "proposer": tohex(one["proposer"]), "title": one["title"],
                "settings": [text for _, _, text in one["settings"]],
                "spends": spends_json(one["spends"]), **amounts, **epochs}

    return {
        "stakes": [{"account": tohex(account), "epoch": epoch, "amount": str(tokens)}
                   for (account, epoch), tokens in sorted(state.stakes.items())],
        "proposals": [said(number, one) for number, one in sorted(state.proposals.items())],
        "ballots": [{"proposal": name_of(number), "account": tohex(account), "yes": yes}
                    for (number, account), yes in sorted(state.ballots.items())]}
