"""Transactions of the stake ledger: texts that a person can read in a wallet, and their signatures.

A text is lines `name: value` in a fixed order. Each reader below takes a value and returns what it
means and the one way to write it; a text is a transaction if all of it is written so. Which lines an
action has is in ACTIONS, whose order is that of the lines; `?` marks those that may be left out.
"""
import calendar, json, re, unicodedata

import blake3

import receipts
import schnorr
import verify
from documents import Refused, name_of
from translog import check_name, tohex, unhex

TITLE = "Adit transaction, version 1"
TEXT_MAX, VALUE_MAX = 8 * 1024, 1024
TOKEN = 10**12
LAST_MOMENT = 253_402_300_799_999


class Wrong(Exception):
    """A value that a field cannot have."""


def need(condition):
    if not condition:
        raise Wrong


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


# --- Values.


def number(bits):
    def read(text):
        need(re.fullmatch(r"\+?[0-9]+", text, re.ASCII) and int(text) < 1 << bits)
        return int(text), str(int(text))
    return read


def amount(text):
    """Tokens with up to 12 digits after the point, in units of 10^-12 token."""
    form = re.fullmatch(r"([0-9]+)(?:\.([0-9]{1,12}))?", text, re.ASCII)
    need(form)
    units = int(form[1]) * TOKEN + int((form[2] or "").ljust(12, "0"))
    need(units < 1 << 128)
    return units, decimal(units, TOKEN)


def decimal(units, one):
    digits = len(str(one)) - 1
    return f"{units // one}.{units % one:0{digits}}".rstrip("0").rstrip(".")


def share(text):
    """A percentage with up to 4 digits after the point, in parts per million."""
    form = re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]{1,4}))?%", text, re.ASCII)
    need(form)
    ppm = int(form[1]) * 10_000 + int((form[2] or "").ljust(4, "0"))
    need(ppm <= 1_000_000)
    return ppm, decimal(ppm, 10_000) + "%"


def moment(text):
    """RFC 3339 in UTC, in milliseconds since 1970."""
    form = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})"
                        r"(?:\.([0-9]{1,9}))?(?:Z|\+00:00)", text, re.ASCII)
    need(form)
    year, month, day, hour, minute, second = (int(part) for part in form.groups()[:6])
    need(year >= 1970 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1])
    need(hour < 24 and minute < 60 and second < 60)
    part = int((form[7] or "").ljust(3, "0")[:3])
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    whole = f"{form[0][:19]}.{part:03}Z" if part else f"{form[0][:19]}Z"
    return seconds * 1000 + part, whole


def hash_name(text):
    need(re.fullmatch("blake3:[0-9a-f]{64}", text, re.ASCII))
    return bytes.fromhex(text[7:]), text


def address(text):
    """A key under the prefix 42. An address has one form, since base 58 has."""
    try:
        value = verify.addresses(json.dumps({"address": text}).encode(), {"prefix": 42})
    except Refused:
        raise Wrong
    return unhex(value["public"]), text


def one_of(*names):
    def read(text):
        need(text in names)
        return text, text
    return read


def matching(pattern, most):
    def read(text):
        need(re.fullmatch(pattern, text, re.ASCII) and len(text) <= most)
        return text, text
    return read


word = matching("[a-z0-9.-]+", 64)
url = matching(r"https?://[a-z0-9.:\[\]-]+", 512)


def cosigner(text):
    """A name as signed notes have them."""
    try:
        check_name(text)
    except Refused:
        raise Wrong
    return text, text


# Not seen themselves, and what is around them is shown otherwise.
UNSEEN = [(0xAD, 0xAD), (0x61C, 0x61C), (0x115F, 0x1160), (0x180E, 0x180E), (0x200B, 0x200F),
          (0x2028, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
          (0xFFF9, 0xFFFB), (0xE0000, 0xE0FFF)]


def sentence(text):
    need(1 <= len(text.encode()) <= 512 and text.strip() == text)
    for letter in text:
        need(unicodedata.category(letter) != "Cc")
        need(not any(low <= ord(letter) <= high for low, high in UNSEEN))
    return text, text


class Several:
    """A field of which there are several lines, or none: how one is read, how many there may be, and
    what must be so of one and the one before."""

    def __init__(self, read, most, fits=lambda last, text: True):
        self.read, self.most, self.fits = read, most, fits


def signature(text):
    need(re.fullmatch("0x[0-9a-f]{128}", text, re.ASCII))
    return unhex(text), text


def choice(text):
    need(text in ("yes", "no"))
    return text == "yes", text


# Parameters by their names: whole numbers by their bits, amounts, hashes.
RECORDS = {
    "rewards": {
        32: ["quorum_ppm", "fee_ppm", "work_share_ppm", "saturation", "quality_min_ppm",
             "shares.miners", "shares.voters", "shares.checkers", "shares.treasury"],
        64: ["fuel_weight", "nn_weight", "work_of_price_ppm", "slice_of_fees_ppm", "cap_ppm",
             "challenge_epochs"]},
    "slashing": {32: ["fraction_ppm", "reporter_ppm"], 64: ["appeal_epochs"]},
    "governance": {32: ["quorum_ppm", "threshold_ppm"], 64: ["voting_epochs", "timelock_epochs"]}}
SETTINGS = {f"{record}.{name}": number(bits) for record, all in RECORDS.items()
            for bits, names in all.items() for name in names}
SETTINGS |= dict.fromkeys(
    ["fee_min", "miner_stake_min", "coordinator_stake_min", "checker_stake_min", "vote_min",
     "faucet_account", "faucet_epoch", "rewards.emission", "slashing.deposit",
     "governance.deposit"], amount)
SETTINGS |= {"unbonding_epochs": number(64), "engine-add": hash_name, "engine-remove": hash_name,
             "rewards.settlement": lambda text: (None, text) if text == "none" else hash_name(text)}


def pair(text):
    need(" " in text)
    return text.split(" ", 1)


def setting(text):
    """The name of a parameter and what it is to be."""
    name, value = pair(text)
    need(name in SETTINGS)
    value, written = SETTINGS[name](value)
    return (name, value, text), f"{name} {written}"


def ascends(last, text):
    """Settings are in order, each parameter once, but for engines."""
    name = text.split(" ")[0]
    return last < text and (last.split(" ")[0] != name or name.startswith("engine-"))


def spend(text):
    account, tokens = pair(text)
    (account, address_written), (tokens, written) = address(account), amount(tokens)
    return (account, tokens), f"{address_written} {written}"


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
    "propose": [("title", sentence), ("set", Several(setting, 32, ascends)),
                ("spend", Several(spend, 8))],
    "ballot": [("proposal", hash_name), ("choice", choice)],
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
        values, last = [], None
        while len(values) < of.most and self.lines and self.lines[0].startswith(name + ": "):
            text = self.lines[0][len(name) + 2:]
            values.append(self.field(name, of.read))
            if last is not None and not of.fits(last, text):
                raise Refused("value", name=name)
            last = text
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
        if isinstance(read, Several):
            fields[name] = lines.several(name, read)
            continue
        fields[name.removesuffix("?")] = lines.field(name, read)
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


def spends_json(spends):
    return [{"account": tohex(account), "amount": str(tokens)} for account, tokens in spends]


def value_of(transaction):
    """What a transaction says, with the names of the index."""
    fields = transaction["fields"]
    said = {name: fields[name] for name in ("to", "node", "role", "name", "from", "proof")
            if name in fields}
    said |= {name: str(fields[name]) for name in ("amount", "bond") if name in fields}
    for ours, theirs in (("log-key", "log"), ("new-node-key", "new_node"), ("new-log-key", "new_log")):
        if ours in fields:
            said[theirs] = fields[ours]
    if "title" in fields:
        said |= {"title": fields["title"], "set": [text for _, _, text in fields["set"]],
                 "spend": spends_json(fields["spend"])}
    if "choice" in fields:
        said |= {"proposal": name_of(fields["proposal"]), "choice": ["no", "yes"][fields["choice"]]}
    if "commission" in fields:
        said["profile"] = profile(fields)
    return {"genesis": name_of(transaction["genesis"]), "account": tohex(transaction["account"]),
            "number": js(transaction["number"]), "fee": str(transaction["fee"]),
            "expires_ms": js(transaction["expires"]), "action": transaction["action"],
            "fields": {name: js(value) for name, value in said.items()}}
