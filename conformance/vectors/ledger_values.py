"""Values of a stake ledger's texts and state: to read from lines, and to write as CBOR.

Each reader takes a text and returns what it means and the one way to write it.
"""
import calendar, json, re, unicodedata

import verify
from documents import Refused
from translog import check_name, unhex

TOKEN = 10**12
OCTETS_MAX = 480  # Of bytes on one line, where their number is not fixed.


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


def fields_of(*reads):
    """A line with several values, and one space between each two."""
    def read(text):
        parts = text.split(" ")
        need(len(parts) == len(reads))
        pairs = [one(part) for one, part in zip(reads, parts)]
        return tuple(value for value, _ in pairs), " ".join(written for _, written in pairs)
    return read


class Several:
    """A field of which there are several lines, or none: how one is read, how many there may be, and
    what must be so of one and the one before."""

    def __init__(self, read, most, fits=lambda last, value: True):
        self.read, self.most, self.fits = read, most, fits


def digits(count):
    def read(text):
        need(re.fullmatch("0x[0-9a-f]{%d}" % (2 * count), text, re.ASCII))
        return unhex(text), text
    return read


signature = digits(64)


def octets(text):
    need(re.fullmatch("0x([0-9a-f]{2}){1,%d}" % OCTETS_MAX, text, re.ASCII))
    return unhex(text), text


def truth(text):
    need(text in ("true", "false"))
    return text == "true", text


def choice(text):
    need(text in ("yes", "no"))
    return text == "yes", text


# Parameters by their names: whole numbers by their bits, amounts, hashes.
RECORDS = {
    "rewards": {
        32: ["quorum_ppm", "fee_ppm", "work_share_ppm", "saturation", "quality_min_ppm",
             "attempt_fee_max_ppm", "shares.miners", "shares.voters", "shares.checkers",
             "shares.treasury"],
        64: ["fuel_weight", "nn_weight", "work_of_price_ppm", "slice_of_fees_ppm", "cap_ppm",
             "challenge_epochs"]},
    "slashing": {32: ["fraction_ppm", "reporter_ppm"],
                 64: ["appeal_epochs", "late_epochs", "answer_epochs"]},
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


def ascends(last, value):
    """Settings are in order, each parameter once, but for engines."""
    return last[2] < value[2] and (last[0] != value[0] or value[0].startswith("engine-"))


spend = fields_of(address, amount)
attestation = fields_of(address, signature)


def by_first(last, value):
    return last[0] < value[0]
