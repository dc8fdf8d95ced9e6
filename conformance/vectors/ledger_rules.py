"""The parameters of a stake ledger: their form, and which of them fit together.

The rules take numbers, or texts of numbers, as documents have them in JSON.
"""
from documents import Record, amount, array, ascending, h, optional, u
from ledger_values import TOKEN

SUPPLY_MAX = TOKEN * TOKEN
AMOUNTS = ["fee_min", "miner_stake_min", "coordinator_stake_min", "checker_stake_min", "vote_min",
           "faucet_account", "faucet_epoch"]
WHOLE, EPOCHS_MAX, LATE_EPOCHS_MAX, RATIO_MAX = 1_000_000, 100_000, 64, 10 ** 12


def record_of(value):
    """A record as the map that it is in the state: its fields are in the order of their keys."""
    if isinstance(value, dict):
        return tuple(record_of(one) for one in value.values())
    return value


def reward_rules(rewards):
    for name in ("fee_ppm", "work_share_ppm", "quality_min_ppm", "attempt_fee_max_ppm",
                 "quorum_ppm"):
        if int(rewards[name]) > WHOLE:
            return "rewards." + name
    if int(rewards["quorum_ppm"]) <= WHOLE // 2:
        return "rewards.quorum_ppm"
    shares = {name: int(share) for name, share in rewards["shares"].items()}
    if sum(shares.values()) != WHOLE:
        return "rewards.shares"
    if int(rewards["emission"]) > SUPPLY_MAX:
        return "rewards.emission"
    for name in ("work_of_price_ppm", "cap_ppm"):
        if int(rewards[name]) > RATIO_MAX:
            return "rewards." + name
    gain = int(rewards["slice_of_fees_ppm"]) * (shares["miners"] + shares["voters"])
    if gain > WHOLE * shares["miners"]:
        return "rewards.slice_of_fees_ppm"
    if int(rewards["saturation"]) == 0:
        return "rewards.saturation"
    if not 0 < int(rewards["challenge_epochs"]) <= EPOCHS_MAX:
        return "rewards.challenge_epochs"
    return None


def slashing_rules(slashing):
    for name in ("fraction_ppm", "reporter_ppm"):
        if int(slashing[name]) > WHOLE:
            return "slashing." + name
    if int(slashing["appeal_epochs"]) > EPOCHS_MAX:
        return "slashing.appeal_epochs"
    if not 0 < int(slashing["answer_epochs"]) <= EPOCHS_MAX:
        return "slashing.answer_epochs"
    if not 2 <= int(slashing["late_epochs"]) <= LATE_EPOCHS_MAX:
        return "slashing.late_epochs"
    return "slashing.deposit" if int(slashing["deposit"]) > SUPPLY_MAX else None


def governance_rules(governance, unbonding_epochs):
    if int(governance["quorum_ppm"]) > WHOLE:
        return "governance.quorum_ppm"
    if not WHOLE // 2 < int(governance["threshold_ppm"]) <= WHOLE:
        return "governance.threshold_ppm"
    if not 0 < int(governance["voting_epochs"]) <= EPOCHS_MAX:
        return "governance.voting_epochs"
    if not unbonding_epochs < int(governance["timelock_epochs"]) <= EPOCHS_MAX:
        return "governance.timelock_epochs"
    return "governance.deposit" if int(governance["deposit"]) > SUPPLY_MAX else None


def parameter_rules(parameters):
    for name in AMOUNTS:
        if int(parameters[name]) > SUPPLY_MAX:
            return name
    if int(parameters["miner_stake_min"]) == 0:
        return "miner_stake_min"
    unbonding_epochs = int(parameters["unbonding_epochs"])
    if unbonding_epochs > EPOCHS_MAX:
        return "unbonding_epochs"
    return (reward_rules(parameters["rewards"]) or slashing_rules(parameters["slashing"])
            or governance_rules(parameters["governance"], unbonding_epochs))


REWARDS = Record(
    quorum_ppm=u(32), emission=amount,
    shares=Record(miners=u(32), voters=u(32), checkers=u(32), treasury=u(32)), fuel_weight=u(64),
    nn_weight=u(64), work_of_price_ppm=u(64), slice_of_fees_ppm=u(64), fee_ppm=u(32),
    work_share_ppm=u(32), cap_ppm=u(64), saturation=u(32), quality_min_ppm=u(32),
    challenge_epochs=u(64), settlement=optional(h), attempt_fee_max_ppm=u(32))
SLASHING = Record(fraction_ppm=u(32), reporter_ppm=u(32), deposit=amount, appeal_epochs=u(64),
                  late_epochs=u(64), answer_epochs=u(64))
GOVERNANCE = Record(deposit=amount, voting_epochs=u(64), timelock_epochs=u(64), quorum_ppm=u(32),
                    threshold_ppm=u(32))
PARAMETERS = Record(
    parameter_rules, fee_min=amount, miner_stake_min=amount, coordinator_stake_min=amount,
    checker_stake_min=amount, vote_min=amount, unbonding_epochs=u(64), faucet_account=amount,
    faucet_epoch=amount, engines=array(h, 64, lambda list: list and ascending(list)),
    rewards=REWARDS, slashing=SLASHING, governance=GOVERNANCE)
