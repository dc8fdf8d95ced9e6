"""Checks the vectors by an implementation of the formats of its own, to show that others can.

    python3 -m pip install blake3 py-sr25519-bindings
    python3 verify.py [FOLDER]

FOLDER is `v1` beside this file if none is given. Each file of a kind in CHECKS must be accepted
with the value in the kind's index.json, or refused with the error there; one line says so for each.
The exit status is 1 if any was not. Keys and keystores are checked by polkadot.mjs.

All integers are little-endian. In JSON, bytes are `0x` and hexadecimal digits, hashes are `blake3:`
and digits, and integers from 2^53 on are decimal strings, since not every reader has them whole.
"""
import hashlib, json, math, re, struct, sys
from pathlib import Path

import blake3

import auditing
import network
import schnorr
import translog
from documents import DOCUMENTS, Refused, decode, name_of
from receipts import countersignatures, receipts, signatures, verify
from translog import tohex, unhex

# --- Addresses (SS58): base 58 of prefix, key and the first two bytes of BLAKE2b-512 over
# `SS58PRE`, prefix and key. A prefix up to 63 is one byte, others are two with their bits mixed.

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def addresses(data, given):
    text = json.loads(data)["address"]
    if len(text) > 64 or any(letter not in BASE58 for letter in text):
        raise Refused("malformed")
    number = 0
    for letter in text:
        number = number * 58 + BASE58.index(letter)
    zeros = len(text) - len(text.lstrip("1"))  # Each leading 1 stands for a zero byte.
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(raw) == 35 and raw[0] < 64:
        prefix = raw[0]
    elif len(raw) == 36 and 64 <= raw[0] < 128:
        prefix = (raw[0] << 2 | raw[1] >> 6) & 0xFF | (raw[1] & 0x3F) << 8
    else:
        raise Refused("malformed")
    if len(raw) == 36 and prefix < 64:  # The long form of a short prefix is a second address.
        raise Refused("malformed")
    if hashlib.blake2b(b"SS58PRE" + raw[:-2]).digest()[:2] != raw[-2:]:
        raise Refused("checksum")
    if prefix != given["prefix"]:
        raise Refused("prefix", expected=given["prefix"], found=prefix)
    key = raw[-34:-2]
    try:  # No signature is checked here: this asks the package whether the key is a point.
        verify(key, b"", bytes(63) + b"\x80", "")
    except Refused as refused:
        if refused.error:
            raise
    return {"public": tohex(key)}


# --- Hashes and commitments. A commitment is BLAKE3 keyed with the task's salt over a blob's hash,
# so that a short input cannot be guessed from a public receipt.


def hash_names(data, given):
    text = json.loads(data)["text"]
    if not text.startswith("blake3:"):
        raise Refused("prefix")
    digits = text[7:]
    if len(digits) != 64:
        raise Refused("length", found=len(digits))
    for position, digit in enumerate(digits):
        if digit not in "0123456789abcdef":
            raise Refused("digit", position=position)
    return {"bytes": "0x" + digits}


def commitments(data, given):
    file = json.loads(data)
    digest = blake3.blake3(unhex(file["blob"])).digest()
    if blake3.blake3(digest, key=unhex(file["salt"])).digest() != unhex(file["commitment"]):
        raise Refused("commitment")
    return {"hash": name_of(digest)}


# --- Tensors: type u8, rank u8, dimensions u32, elements in row-major order. The hash covers all.

TYPES = [("fp16", "e", 2), ("fp32", "f", 4), ("fp64", "d", 8), ("bf16", None, 2), ("u8", "B", 1),
         ("i32", "i", 4), ("i64", "q", 8)]


def check_shape(size, dims, found):
    # The product is taken step by step, as 64 bits must hold it; a dimension of zero makes it zero.
    expected = 0 if 0 in dims else math.prod(dims) * size
    if expected >= 1 << 64:
        raise Refused("overflow", dims=dims)
    if expected != found:
        raise Refused("data-length", expected=expected, found=found)


def tensors(data, given):
    if len(data) < 2:
        raise Refused("short-header", expected=2, found=len(data))
    if data[0] >= len(TYPES):
        raise Refused("unknown-type", type=data[0])
    (name, _, size), rank = TYPES[data[0]], data[1]
    if rank > 8:
        raise Refused("rank", rank=rank)
    if len(data) < 2 + 4 * rank:
        raise Refused("short-header", expected=2 + 4 * rank, found=len(data))
    dims = list(struct.unpack_from(f"<{rank}I", data, 2))
    elements = data[2 + 4 * rank:]
    check_shape(size, dims, len(elements))
    return {"dtype": name, "dims": dims, "data": tohex(elements),
            "hash": name_of(blake3.blake3(data).digest())}


# --- Tolerances: binary64 arithmetic in the order of the elements, so that all come to one verdict.


def tolerances(data, given):
    file = json.loads(data)
    _, form, size = next(kind for kind in TYPES if kind[0] == file["dtype"])
    a, b = ((file[side]["dims"], unhex(file[side]["data"])) for side in "ab")
    for dims, raw in (a, b):
        check_shape(size, dims, len(raw))
    if a[0] != b[0]:
        raise Refused("shapes-differ", a=a[0], b=b[0])
    tolerance = {} if file["tolerance"] == "exact" else file["tolerance"]
    bounds = tolerance.get("max-abs-rel", {})
    bound_abs, bound_rel = int(bounds.get("abs_nano", 0)) / 1e9, int(bounds.get("rel_ppm", 0)) / 1e6
    within = comparable = True
    max_abs = max_rel = 0.0
    finite = []
    for x, y in zip(elements_of(form, size, a[1]), elements_of(form, size, b[1])):
        if not (math.isfinite(x) and math.isfinite(y)):
            # NaN agrees with NaN whatever its bits, an infinity with itself, and with nothing else.
            comparable &= x == y or (x != x and y != y)
            continue
        # Integers are subtracted exactly: above 2^53 two of them can be the same binary64.
        difference, x, y = float(abs(x - y)), float(x), float(y)
        larger = max(abs(x), abs(y))
        if difference == 0:
            relative = 0.0
        elif math.isinf(difference):
            relative = abs(x / larger - y / larger)
        else:
            relative = difference / larger
        within &= difference <= bound_abs or relative <= bound_rel
        max_abs, max_rel = max(max_abs, difference), max(max_rel, relative)
        finite.append((x, y))
    cosine = cosine_of(finite)
    if not comparable:
        max_abs = max_rel = math.inf
    figures = {"max_abs": max_abs, "max_rel": max_rel, "cosine": cosine}
    if "cosine" in tolerance:
        accepted = comparable and cosine >= int(tolerance["cosine"]["min_ppm"]) / 1e6
    elif "top-k" in tolerance:
        k, least = (int(tolerance["top-k"][name]) for name in ("k", "min_ppm"))
        common, total = overlap(a[0], k, *(elements_of(form, size, raw) for _, raw in (a, b)))
        accepted = comparable and common * 1_000_000 >= least * total
        figures["top_k"] = common / total if total else 1.0
    elif "perceptual-hash" in tolerance:
        bits = distance(a[0], *(elements_of(form, size, raw) for _, raw in (a, b)))
        accepted = comparable and bits <= tolerance["perceptual-hash"]["max_bits"]
    elif "max-abs-rel" in tolerance:
        accepted = comparable and within
    else:
        accepted = a[1] == b[1]
    figures = {name: tohex(struct.pack(">d", figure)) for name, figure in figures.items()}
    if "perceptual-hash" in tolerance:
        figures["hash_bits"] = bits
    if not accepted:
        raise Refused("disagree", **figures)
    return figures


def elements_of(form, size, raw):
    if form:
        return [value for value, in struct.iter_unpack("<" + form, raw)]
    # A bfloat is the upper half of a binary32.
    return [struct.unpack("<f", b"\0\0" + raw[at:at + 2])[0] for at in range(0, len(raw), size)]


def cosine_of(pairs):
    # Each side is divided by its largest element first, so that no square overflows or vanishes.
    large_x = max((abs(x) for x, _ in pairs), default=0.0)
    large_y = max((abs(y) for _, y in pairs), default=0.0)
    if large_x == 0 or large_y == 0:
        return 1.0 if large_x == large_y else 0.0
    dot = square_x = square_y = 0.0
    for x, y in pairs:
        x, y = x / large_x, y / large_y
        dot, square_x, square_y = dot + x * y, square_x + x * x, square_y + y * y
    return min(1.0, max(-1.0, dot / math.sqrt(square_x * square_y)))


def overlap(dims, k, a, b):
    """How many places of the k largest of each row are common, and of how many in all."""
    length = dims[-1] if dims else 1
    common = total = 0
    for at in range(0, len(a), max(1, length)):
        rows = []
        for row in (a[at:at + length], b[at:at + length]):
            # NaN below everything; of equal elements the first, as a sort keeps their order.
            order = sorted(range(len(row)), reverse=True,
                           key=lambda i: (row[i] == row[i], row[i] if row[i] == row[i] else 0, -i))
            rows.append(set(order[:k]))
        common, total = common + len(rows[0] & rows[1]), total + len(rows[0])
    return common, total


def distance(dims, a, b):
    """The most bits in which the difference hashes of two planes differ."""
    if len(dims) < 2:
        raise Refused("no-planes", dims=dims)
    height, width = dims[-2:]
    if height < 8 or width < 9:
        raise Refused("plane-too-small", height=height, width=width)
    size = height * width
    return max((sum(x != y for x, y in zip(bits_of(a[at:at + size], height, width),
                                           bits_of(b[at:at + size], height, width)))
                for at in range(0, len(a), size)), default=0)


def bits_of(plane, height, width):
    """8 x 8 bits: whether a cell of 9 columns and 8 rows is greater than its left neighbour."""
    def average(row, column):
        rows = range(row * height // 8, (row + 1) * height // 8)
        columns = range(column * width // 9, (column + 1) * width // 9)
        total = 0.0
        for r in rows:
            for c in columns:
                number = float(plane[r * width + c])
                total += number if math.isfinite(number) else 0.0
        return total / (len(rows) * len(columns))
    cells = [[average(row, column) for column in range(9)] for row in range(8)]
    return [right > left for row in cells for left, right in zip(row, row[1:])]


# --- Chains: each computation's link is derived from the one before in its context and the inputs:
# BLAKE3 derive_key over 00, manifest and context first, then 01, the link, the count and each input.


def chains(data, given):
    def link(*parts):
        context = "adit transcript chain v1"
        return blake3.blake3(b"".join(parts), derive_key_context=context).digest()

    current, links = {}, []
    for at, call in enumerate(decode("transcripts", data)["calls"]):
        if call["chain"] is None:  # Its inputs were refused, and the context is as before.
            continue
        context, manifest = call["context"], bytes.fromhex(call["manifest"][7:])
        before = current.get(context) or link(b"\0", manifest, struct.pack("<I", context))
        inputs = [b"\1", before, struct.pack("<Q", len(call["inputs"]))]
        for tensor in call["inputs"]:
            name = tensor["name"].encode()
            inputs += [struct.pack("<Q", len(name)), name, bytes.fromhex(tensor["hash"][7:])]
        current[context] = link(*inputs)
        if name_of(current[context]) != call["chain"]:
            raise Refused("chain", call=at)
        links.append(call["chain"])
    return {"links": links}


def document(kind):
    return lambda data, given: {"document": decode(kind, data),
                                "hash": name_of(blake3.blake3(data).digest())}


# --- Hardware: a record's bytes are signed by its own node, under a context of their own.


def signed_hardware_records(data, given):
    value = document("signed-hardware-records")(data, given)
    signed = value["document"]
    record = unhex(signed["record"])
    try:
        value["record"] = decode("hardware-records", record)
    except Refused as refused:
        raise Refused("record", rule=refused.error)
    node = unhex(value["record"]["node"])
    if node == bytes(32):
        raise Refused("zero-key")
    if schnorr.decoded(node) is None:
        raise Refused("not-a-point")
    if not schnorr.verified(b"adit-hardware-v1", record, node, unhex(signed["signature"])):
        raise Refused("node-signature")
    return value


# The class of a device: its kind, the largest rung of memory of which it has 98%, and the binary
# logarithm of its whole GFLOP per second, rounded down.

RUNGS = [0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512, 768, 1024,
         1536, 2048, 3072, 4096]


def hardware_classes(data, given):
    file = json.loads(data)
    form = re.fullmatch("(cpu|gpu)-(0|[1-9][0-9]{0,8})g-f(0|[1-9][0-9]{0,8})", file["class"])
    if not form:
        raise Refused("form")
    kind, memory, rate = form[1], int(form[2]), int(form[3])
    if memory not in RUNGS:
        raise Refused("memory", found=memory)
    if rate > 34:
        raise Refused("rate", found=rate)
    rung = max(gib for gib in RUNGS if int(file["memory_bytes"]) * 100 >= (gib << 30) * 98)
    giga = int(file["fp32_rate"]) // 10**9
    expected = f"{file['kind']}-{rung}g-f{max(giga, 1).bit_length() - 1}"
    if file["class"] != expected:
        raise Refused("class", expected=expected)
    return {"kind": kind, "memory_gib": memory, "rate_log2": rate}


# --- The run.

CHECKS = {"addresses": addresses, "commitments": commitments, "hash-names": hash_names,
          "receipts": receipts, "countersignatures": countersignatures, "signatures": signatures,
          "tensors": tensors, "tolerances": tolerances, "transcript-chains": chains}
CHECKS |= {kind: document(kind) for kind in DOCUMENTS}
CHECKS |= {"signed-hardware-records": signed_hardware_records, "hardware-classes": hardware_classes}
CHECKS |= translog.CHECKS
CHECKS |= network.CHECKS
CHECKS |= auditing.CHECKS


def outcome(check, data, given):
    """What a file decodes to, or the error and what is known of it."""
    try:
        return check(data, given), None
    except Refused as refused:
        return None, refused


def main(folder):
    right = wrong = 0
    for kind, check in sorted(CHECKS.items()):
        index = json.loads((folder / kind / "index.json").read_text("utf-8"))
        for side in ("good", "bad"):
            for file, entry in index[side].items():
                data = (folder / kind / side / file).read_bytes()
                value, refused = outcome(check, data, entry["given"])
                if side == "good":
                    fits, said = refused is None and value == entry["value"], "accepted"
                else:
                    fits = refused is not None and refused.fits(entry["error"], entry["detail"])
                    said = "refused: " + entry["why"]
                if not fits:
                    said = f"WRONG: {refused or value}, expected {entry}"
                print(f"{kind}/{side}/{file}: {said}")
                right, wrong = right + fits, wrong + (not fits)
    print(f"{right} as they should be, {wrong} not")
    return 1 if wrong or not right else 0


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else here / "v1"))
