"""Settles an epoch, by an implementation of the rules of its own, to show that others can.

    python3 settlement.py INPUT OUTPUT      settles INPUT and compares with OUTPUT byte for byte
    python3 settlement.py FOLDER            does so for all that FOLDER/index.json names: each `good`
                                            NAME.in with NAME.out, and each `bad` bad-NAME.in must be
                                            refused with the error named there

The exit status is 1 if anything differs. Needs no package. The layouts and the rules are those in
the documentation of adit-settlement (registry/settlement/src/lib.rs); integers are little-endian,
amounts are in 10^-12 token, ratios in parts per million. Numbers here have no limit, so that what
has to fit into 128 bits is only what the documentation says has to.
"""
import json, sys
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

MILLION = 1_000_000
U128 = 1 << 128
NOBODY = (1 << 32) - 1

# Places of the counts: paid in full, then the reasons not to pay, in the order in which they are
# looked for.
PAID, UNREGISTERED, EPOCH, NOT_ACCEPTED, STATUS, DUPLICATE, SURPLUS, ESCROW = range(8)

PRICE_STATUSES = {0, 1, 2, 3, 4}  # ok, task-error, trap, out-of-fuel, limit-exceeded
FEE_STATUSES = {5, 16, 17, 21}  # invalid-component, stack-overflow, deadline, compile-limit
TRAP, CANCELLED = 2, 19


class Refused(Exception):
    """An input that is wrong: the error as the index of the vectors names it."""


# --- The input. A layout is a list of fields: a name, and an integer's or a string's length.

HEADER = [
    ("epoch", 8), ("genesis", "32"), ("emission", 16), ("share_miners", 4), ("share_voters", 4),
    ("share_checkers", 4), ("share_treasury", 4), ("a", 8), ("b", 8), ("c", 8), ("k", 8), ("fee", 4),
    ("work_share", 4), ("cap", 8), ("saturation", 4), ("miner_least", 16), ("coordinator_least", 16),
    ("quality_least", 4), ("attempt_fee", 4), ("coordinators", 4), ("miners", 4), ("votes", 4), ("receipts", 8)]
COORDINATOR = [
    ("node", "32"), ("operator", "32"), ("stake", 16), ("escrow", 16), ("commission", 4)]
MINER = [
    ("node", "32"), ("operator", "32"), ("stake", 16), ("commission", 4), ("quality", 4), ("cut", 4)]
VOTE = [("node", 4), ("voter", "32"), ("amount", 16)]
RECEIPT = [
    ("coordinator", 4), ("miner", 4), ("leaf", 8), ("epoch", 8), ("task", "32"),
    ("assignment", "32"), ("status", 1), ("flags", 1), ("replicas", 1), ("fuel", 8),
    ("nn_units", 8), ("price", 16), ("attempt_fee", 16)]


class Row(dict):
    """Fields by name, as attributes."""

    __getattr__ = dict.__getitem__


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        if self.at + length > len(self.data):
            raise Refused("truncated")
        self.at += length
        return self.data[self.at - length:self.at]

    def row(self, layout):
        row = Row()
        for name, length in layout:
            field = self.take(int(length))
            row[name] = field if isinstance(length, str) else int.from_bytes(field, "little")
        return row


def need(holds, error):
    if not holds:
        raise Refused(error)


def ascending(keys):
    return all(low < high for low, high in zip(keys, keys[1:]))


def saturated(stake, least, saturation):
    return min(stake, least * saturation)


def read(data):
    """Header, coordinators, miners, votes by the number of their node, receipts."""
    reader = Reader(data)
    magic, version = reader.take(8), int.from_bytes(reader.take(2), "little")
    need(magic == b"aditsetl", "magic")
    need(version == 1, "version")
    header = reader.row(HEADER)
    # No order is promised for an input with two mistakes; the vectors have one each.
    for name, most in (
            ("coordinators", 1 << 16), ("miners", 1 << 20), ("votes", 1 << 24), ("receipts", 1 << 32)):
        need(header[name] <= most, "too-many")
    shares = [header[f"share_{name}"] for name in ("miners", "voters", "checkers", "treasury")]
    need(sum(shares) == MILLION, "parameter")
    need(max(header.fee, header.work_share, header.quality_least, header.attempt_fee) <= MILLION,
         "parameter")
    need(header.saturation >= 1, "parameter")
    coordinators = [reader.row(COORDINATOR) for _ in range(header.coordinators)]
    miners = [reader.row(MINER) for _ in range(header.miners)]
    votes = [reader.row(VOTE) for _ in range(header.votes)]
    nodes = coordinators + miners
    for rows in (coordinators, miners):
        need(ascending([row.node for row in rows]), "order")
    for row in nodes:
        for ratio in ("commission", "quality", "cut"):
            need(row.get(ratio, 0) <= MILLION, "ratio")
    need(ascending([(vote.node, vote.voter) for vote in votes]), "order")
    of_node = defaultdict(list)
    for vote in votes:
        need(vote.amount > 0, "empty-vote")
        of_node[vote.node].append(vote)
    for number, row in enumerate(nodes):
        need(row.stake == sum(vote.amount for vote in of_node[number]), "stake")
        row["votes"] = of_node.pop(number)
    need(not of_node, "index")
    need(header.emission + sum(row.escrow for row in coordinators) < U128, "overflow")
    for row in coordinators:
        row["saturated"] = saturated(row.stake, header.coordinator_least, header.saturation)
        need(row.escrow * header.c // MILLION < U128, "overflow")
    for row in miners:
        row["saturated"] = saturated(row.stake, header.miner_least, header.saturation)
    for rows in (coordinators, miners):
        need(sum(row.saturated for row in rows) < U128, "overflow")
    receipts, last = [], (-1, -1)
    for _ in range(header.receipts):
        receipt = reader.row(RECEIPT)
        need(receipt.flags < 8, "flags")
        need(receipt.coordinator < len(coordinators), "index")
        need(receipt.miner < len(miners) or receipt.miner == NOBODY, "index")
        need(last < (receipt.coordinator, receipt.leaf), "order")
        last = receipt.coordinator, receipt.leaf
        receipts.append(receipt)
    need(reader.at == len(data), "trailing")
    return header, coordinators, miners, receipts


# --- The rules.


def split(amount, weights):
    """By largest remainder; None if there is nobody to split among."""
    total = sum(weights)
    if not total:
        return None
    shares = [amount * weight // total for weight in weights]
    # Sorting keeps the order of equal remainders.
    by_remainder = sorted(range(len(weights)), key=lambda at: -(amount * weights[at] % total))
    for at in by_remainder[:amount - sum(shares)]:
        shares[at] += 1
    return shares


def due_for(header, receipt):
    """Whether the price is due, and how much."""
    emitted = receipt.flags & 4
    if receipt.status in PRICE_STATUSES or receipt.status == CANCELLED and emitted:
        return True, receipt.price
    if receipt.status in FEE_STATUSES or receipt.status == CANCELLED:
        return False, min(receipt.attempt_fee, receipt.price * header.attempt_fee // MILLION)
    return None


class Log:
    """The receipts of one coordinator, paid from its escrow."""

    def __init__(self, header, escrow):
        self.header, self.escrow = header, escrow
        self.spent = self.burned = 0
        self.assignments, self.prices = set(), Counter()
        self.completed = []  # Of receipts that completed a task: index of the miner, work, burned.
        self.fees = Counter()  # What was burned, by index of the miner.

    def pay(self, receipt):
        """The place to count it at, and the miner's income."""
        if receipt.miner == NOBODY:
            return UNREGISTERED, 0
        if receipt.epoch not in (self.header.epoch, self.header.epoch - 1):
            return EPOCH, 0
        if not receipt.flags & 1:
            return NOT_ACCEPTED, 0
        due = due_for(self.header, receipt)
        if due is None:
            return STATUS, 0
        is_price, amount = due
        assignment, task = receipt.assignment[:16], receipt.task[:16]
        if assignment in self.assignments:
            return DUPLICATE, 0
        if is_price and self.prices[task] >= receipt.replicas:
            return SURPLUS, 0
        self.assignments.add(assignment)
        self.prices[task] += is_price
        payment = min(amount, self.escrow)
        fee = -(-payment * self.header.fee // MILLION)  # Rounded up.
        self.escrow -= payment
        self.spent += payment
        self.burned += fee
        self.fees[receipt.miner] += fee
        full = payment == amount
        if is_price and receipt.status < 16 and full and payment > 0:
            self.completed.append((receipt.miner, self.work_of(receipt), fee))
        return (PAID if full else ESCROW), payment - fee

    def work_of(self, receipt):
        if receipt.status == TRAP:
            return 0
        nn_units = receipt.nn_units if receipt.flags & 2 else 0
        used = self.header.a * receipt.fuel + self.header.b * nn_units
        return min(used, receipt.price * self.header.c // MILLION)


def settle(data):
    """From the bytes of an input to the bytes of its output."""
    header, coordinators, miners, receipts = read(data)
    part_miners, part_voters, _, treasury = split(header.emission, [
        header.share_miners, header.share_voters, header.share_checkers, header.share_treasury])
    for row in coordinators + miners:
        row["counts"] = [0] * 8
    for row in miners:
        row.update(income=0, by_work=0, above_fees=0, by_stake=0)
    totals = [0] * 8
    logs = [Log(header, row.escrow) for row in coordinators]
    for receipt in receipts:
        place, income = logs[receipt.coordinator].pay(receipt)
        coordinators[receipt.coordinator].counts[place] += 1
        totals[place] += 1
        if receipt.miner != NOBODY:
            miners[receipt.miner].counts[place] += 1
            miners[receipt.miner]["income"] += income

    all_stake = sum(row.saturated for row in coordinators)
    for row, log in zip(coordinators, logs):
        allowed = part_miners * row.saturated // all_stake if all_stake else 0
        row["slice"] = min(allowed, header.k * log.burned // MILLION)
        row["earned"] = part_voters * row.slice // part_miners if part_miners else 0

        def weighed(amount, miner):
            quality = miners[miner].quality
            return amount * (quality if quality >= header.quality_least else 0) // MILLION

        part = row.slice * header.work_share // MILLION
        weights = [weighed(work, miner) for miner, work, _ in log.completed]
        all_work = sum(weights)
        for (miner, _, fee), weight in zip(log.completed, weights):
            by_all = part * weight // all_work if all_work else 0
            piece = min(by_all, part * fee // log.burned if log.burned else 0)
            miners[miner]["by_work"] += piece
            miners[miner]["above_fees"] += by_all - piece

        rest = MILLION - header.work_share
        claims = []
        for miner in sorted({miner for miner, _, _ in log.completed}):
            weight = weighed(miners[miner].saturated, miner)
            own = header.k * weighed(log.fees[miner], miner) // MILLION
            if weight:
                claims.append((Fraction(min(own, allowed) * rest // MILLION, weight), miner, weight))
        left, weights = allowed * rest // MILLION, sum(weight for _, _, weight in claims)
        for ratio, miner, weight in sorted(claims):
            share = min(int(ratio * weight), left * weight // weights)
            miners[miner]["by_stake"] += share
            left, weights = left - share, weights - weight

    for row in miners:
        uncapped = row.by_work
        row["by_work"] = min(uncapped, row.stake * header.cap // MILLION)
        row["capped"] = row.above_fees + uncapped - row.by_work
        # The service cut: its ratio is in the input, and its amount goes into the output.
        row["cut_off"] = (row.by_work + row.by_stake) * row.cut // MILLION
        row["earned"] = row.income + row.by_work + row.by_stake - row.cut_off

    accounts = Counter()
    for row in coordinators + miners:
        commission = row.earned * row.commission // MILLION
        shares = split(row.earned - commission, [vote.amount for vote in row.votes])
        if shares is None:
            accounts[row.operator] += row.earned
            continue
        accounts[row.operator] += commission
        for vote, share in zip(row.votes, shares):
            accounts[vote.voter] += share
    accounts = sorted((account, amount) for account, amount in accounts.items() if amount)

    spent, burned = sum(log.spent for log in logs), sum(log.burned for log in logs)
    paid = sum(amount for _, amount in accounts)
    minted = treasury + sum(row.earned for row in coordinators) + sum(
        row.by_work + row.by_stake - row.cut_off for row in miners)
    assert paid + treasury == minted + spent - burned

    out = [b"aditrwrd", u(2, 1), u(8, header.epoch), header.genesis]
    for account, amount in accounts:
        out += [b"\1", account, u(16, amount)]
    for row in miners:
        out += [b"\2", row.node, u(16, row.income, row.by_work, row.by_stake, row.capped, row.cut_off),
                u(8, *row.counts)]
    for row, log in zip(coordinators, logs):
        out += [b"\3", row.node, u(16, log.spent, log.burned, row.slice, row.earned),
                u(8, *row.counts)]
    out += [b"\4", u(4, len(accounts), len(miners), len(coordinators)),
            u(16, header.emission, minted, header.emission - minted, treasury, spent, burned, paid),
            u(8, *totals)]
    return b"".join(out)


def u(length, *integers):
    return b"".join(integer.to_bytes(length, "little") for integer in integers)


# --- Comparing.


def compare(given, expected):
    """None if the settlement of `given` is `expected`, else what is wrong."""
    try:
        found = settle(given)
    except Refused as refused:
        return f"refused: {refused}"
    if found == expected:
        return None
    same = next((at for at, (a, b) in enumerate(zip(found, expected)) if a != b), None)
    return f"{len(found)} bytes, not {len(expected)}" if same is None else f"differs at byte {same}"


def folder(path):
    index = json.loads((path / "index.json").read_text())
    failed = 0
    for entry in index["good"]:
        name = entry["name"]
        wrong = compare((path / f"{name}.in").read_bytes(), (path / f"{name}.out").read_bytes())
        failed += wrong is not None
        print(f"{name}: {wrong or 'the same'}")
    for entry in index["bad"]:
        name = entry["name"]
        try:
            settle((path / f"bad-{name}.in").read_bytes())
            found = "not refused"
        except Refused as refused:
            found = str(refused)
        failed += found != entry["error"]
        print(f"bad-{name}: {found}" + ("" if found == entry["error"] else f", not {entry['error']}"))
    return failed


def main(arguments):
    if len(arguments) == 1:
        return 1 if folder(Path(arguments[0])) else 0
    if len(arguments) == 2:
        wrong = compare(*(Path(path).read_bytes() for path in arguments))
        print(wrong or "the same")
        return 1 if wrong else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
