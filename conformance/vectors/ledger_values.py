"""Values of a transaction's lines. Each reader takes a text and returns what it means and the one way
to write it; what cannot be read is `Wrong`.
"""
import calendar, json, re, unicodedata

import verify
from documents import Refused
from translog import check_name, unhex

TOKEN = 10**12


class Wrong(Exception):
    """A value that a field cannot have."""


def need(condition):
    if not condition:
        raise Wrong


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


def truth(text):
    need(text in ("true", "false"))
    return text == "true", text


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


def signature(text):
    need(re.fullmatch("0x[0-9a-f]{128}", text, re.ASCII))
    return unhex(text), text
