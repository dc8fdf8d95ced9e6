"""The transparency log: an append-only Merkle tree, the files that it is served as, signed texts.

The formats are those of C2SP (tlog-tiles, signed-note, tlog-checkpoint, tlog-cosignature and
tlog-witness) with BLAKE3 in place of SHA-256 and sr25519 in place of Ed25519. Here proofs are checked
by the recursion that RFC 6962 defines them with, and nothing is done to be fast.
"""
import base64, hashlib, json, re, unicodedata

import blake3

import schnorr
from documents import Refused, js, name_of

SIZE_MAX = 1 << 62  # So that no proof has more than 63 hashes.


def unhex(text):
    return bytes.fromhex(text.removeprefix("0x"))


def tohex(data):
    return "0x" + data.hex()


def unbase64(text):
    """The bytes of standard base64 in its one form, or `None`."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode() == text else None


def decimal(text):
    """A number without sign and leading zeros that fits into 64 bits, or `None`."""
    number = int(text) if re.fullmatch("0|[1-9][0-9]{0,19}", text) else None
    return number if number is not None and number < 1 << 64 else None


# --- The tree: a leaf is the hash of 00 and the entry, a node that of 01 and two hashes.


def hashed(data):
    return blake3.blake3(data).digest()


def leaf_of(entry):
    return hashed(b"\0" + entry)


def node_of(left, right):
    return hashed(b"\1" + left + right)


def hash_named(name):
    return bytes.fromhex(name.removeprefix("blake3:"))


def split(size):
    """How many leaves are left of the root: the largest power of two below the size."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_length(index, size):
    if size == 1:
        return 0
    left = split(size)
    below = (index, left) if index < left else (index - left, size - left)
    return 1 + inclusion_length(*below)


def inclusion_root(leaf, index, size, proof):
    if size == 1:
        return leaf
    left = split(size)
    if index < left:
        return node_of(inclusion_root(leaf, index, left, proof[:-1]), proof[-1])
    return node_of(proof[-1], inclusion_root(leaf, index - left, size - left, proof[:-1]))


def check_size(size):
    if size > SIZE_MAX:
        raise Refused("size-of-no-log", size=js(size))


def check_length(expected, proof):
    if len(proof) != expected:
        raise Refused("length", expected=expected, found=len(proof))


def inclusion_proofs(data, given):
    file = json.loads(data)
    index, size = int(file["index"]), int(file["size"])
    proof = [hash_named(name) for name in file["proof"]]
    check_size(size)
    if index >= size:
        raise Refused("index", index=js(index), size=js(size))
    check_length(inclusion_length(index, size), proof)
    leaf = leaf_of(unhex(file["entry"]))
    if inclusion_root(leaf, index, size, proof) != hash_named(file["root"]):
        raise Refused("root")
    return {"leaf": name_of(leaf), "verifies": True}


def consistency_length(old, new, known):
    if old == new:
        return 0 if known else 1
    left = split(new)
    if old <= left:
        return 1 + consistency_length(old, left, known)
    return 1 + consistency_length(old - left, new - left, False)


def consistency_roots(old, new, known, proof):
    """The roots of both trees; `known` is that of the older one, as long as it is all of it."""
    if old == new:
        return (known or proof[0],) * 2
    left = split(new)
    if old <= left:
        first, second = consistency_roots(old, left, known, proof[:-1])
        return first, node_of(second, proof[-1])
    first, second = consistency_roots(old - left, new - left, None, proof[:-1])
    return node_of(proof[-1], first), node_of(proof[-1], second)


def check_consistency(old, old_root, new, new_root, proof):
    check_size(new)
    if old > new:
        raise Refused("shrinks", old=js(old), new=js(new))
    if old == 0:
        check_length(0, proof)
        if old_root != hashed(b""):
            raise Refused("old-root")
        if new == 0 and new_root != old_root:
            raise Refused("root")
        return
    check_length(consistency_length(old, new, True), proof)
    first, second = consistency_roots(old, new, old_root, proof)
    if first != old_root:
        raise Refused("old-root")
    if second != new_root:
        raise Refused("root")


def consistency_proofs(data, given):
    file = json.loads(data)
    check_consistency(int(file["old_size"]), hash_named(file["old_root"]), int(file["new_size"]),
                      hash_named(file["new_root"]), [hash_named(name) for name in file["proof"]])
    return {"verifies": True}


# --- Files: tiles of up to 256 hashes by level, and bundles of up to 256 entries. What lies at a path
# never changes, so a file that is not full has its width in the path.


def parsed_path(path):
    """Level (`None` for entries), index and width."""
    parts = re.fullmatch(r"tile/([^/]*)/((?:[^/.]*/)*[^/.]*)(?:\.p/(.*))?", path)
    if not parts:
        raise Refused("form")
    level, groups, width = parts.groups()
    if level != "entries" and (decimal(level) is None or decimal(level) > 7):
        raise Refused("level")
    level = None if level == "entries" else int(level)
    if width is not None and (decimal(width) is None or not 1 <= int(width) <= 255):
        raise Refused("width")
    width = 256 if width is None else int(width)
    # Three digits between slashes, an x before all but the last, and none of zeros in front.
    if not re.fullmatch("(?:x(?!000)[0-9]{3}/(?:x[0-9]{3}/)*)?[0-9]{3}", groups, re.ASCII):
        raise Refused("form")
    index = int(groups.replace("/", "").replace("x", ""))
    if index * 256 + width > SIZE_MAX >> 8 * (level or 0):
        raise Refused("index-of-no-log")
    return level, index, width


def written_path(level, index, width):
    digits = str(index)
    digits = digits.zfill(len(digits) + -len(digits) % 3)
    groups = [digits[at:at + 3] for at in range(0, len(digits), 3)]
    groups = "".join(f"x{group}/" for group in groups[:-1]) + groups[-1]
    level = "entries" if level is None else level
    return f"tile/{level}/{groups}" + (f".p/{width}" if width < 256 else "")


def tile_paths(data, given):
    level, index, width = parsed_path(json.loads(data)["path"])
    return {"level": "entries" if level is None else level, "index": js(index), "width": width}


def tile_lists(data, given):
    file = json.loads(data)
    old, new = int(file["old"]), int(file["new"])
    files = []
    for level in (None, *range(8)):
        had, has = old >> 8 * (level or 0), new >> 8 * (level or 0)
        first, last = had // 256, -(-has // 256)
        for index in range(first, last) if had < has else ():
            files.append(written_path(level, index, min(256, has - 256 * index)))
    if files != file["files"]:
        raise Refused("files")
    return {"count": len(files)}


def tiles(data, given):
    level, _, width = parsed_path(given["path"])
    if level is None:
        raise Refused("entries")
    if len(data) != 32 * width:
        raise Refused("length", expected=32 * width, found=len(data))
    hashes = row = [data[at:at + 32] for at in range(0, len(data), 32)]
    while width == 256 and len(row) > 1:
        row = [node_of(*row[at:at + 2]) for at in range(0, len(row), 2)]
    return {"count": width, "first": name_of(hashes[0]), "last": name_of(hashes[-1]),
            "full_hash": name_of(row[0]) if width == 256 else None}


def entry_bundles(data, given):
    entries, at = [], 0
    while at < len(data):
        if len(entries) == 256:
            raise Refused("entries", found=257)
        end = at + 2 + int.from_bytes(data[at:at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise Refused("truncated", at=len(entries))
        entries.append(data[at + 2:end])
        at = end
    if not entries:
        raise Refused("entries", found=0)
    if len(entries) != given["width"]:
        raise Refused("count", expected=given["width"], found=len(entries))
    return {"count": len(entries), "first": tohex(entries[0]),
            "first_leaf": name_of(leaf_of(entries[0])), "last_leaf": name_of(leaf_of(entries[-1]))}


# --- Keys of notes: a name, a kind and 32 bytes. The id is four bytes of SHA-256, to find a line by.

KINDS = ["adit/sr25519-checkpoint/v1", "adit/sr25519-cosignature/v1", "adit/sr25519-mirror/v1"]


def check_name(name):
    if not name:
        raise Refused("name-empty")
    if len(name.encode()) > 255:
        raise Refused("name-length", found=len(name.encode()))
    for at, letter in enumerate(name):
        if letter == "+" or letter.isspace() or unicodedata.category(letter) == "Cc":
            raise Refused("name-character", position=len(name[:at].encode()))


def check_point(key):
    # Under a key of zeros, the identity, anyone can sign.
    if key == bytes(32):
        raise Refused("key", rule="zero-key")
    if schnorr.decoded(key) is None:
        raise Refused("key", rule="not-a-point")


class Key:
    def __init__(self, text):
        parts = text.split("+", 2)
        if len(parts) < 3 or not re.fullmatch("[0-9a-f]{8}", parts[1], re.ASCII):
            raise Refused("form")
        self.name, found, key = parts[0], bytes.fromhex(parts[1]), unbase64(parts[2])
        if key is None:
            raise Refused("form")
        check_name(self.name)
        kinds = [kind for kind in KINDS if key[:-32] == b"\xff" + kind.encode()]
        if not kinds:
            raise Refused("kind")
        self.kind, self.public = kinds[0], key[-32:]
        check_point(self.public)
        self.id = hashlib.sha256(self.name.encode() + b"\n" + key).digest()[:4]
        if self.id != found:
            raise Refused("id", expected=tohex(self.id), found=tohex(found))

    def signed(self, message, signature):
        return len(signature) == 64 and schnorr.verified(b"substrate", message, self.public, signature)


def verifier_keys(data, given):
    key = Key(json.loads(data)["verifier_key"])
    return {"name": key.name, "id": tohex(key.id), "kind": key.kind, "public": tohex(key.public)}


def log_origins(data, given):
    form = re.fullmatch("adit/([0-9a-f]{16})/([0-9a-f]{64})/blake3", json.loads(data)["origin"])
    if not form:
        raise Refused("origin")
    try:
        check_point(bytes.fromhex(form[2]))
    except Refused:
        raise Refused("origin")
    return {"genesis": "0x" + form[1], "coordinator": "0x" + form[2]}


# --- Notes: a text, a blank line, and a line for each signature.


def parsed_line(line):
    if not line.startswith("\u2014 ") or line.count(" ") < 2:
        raise Refused("line-form")
    name, rest = line[2:].split(" ", 1)
    try:
        check_name(name)
    except Refused:
        raise Refused("line-name")
    data = unbase64(rest)
    if data is None or len(data) < 5:
        raise Refused("line-signature")
    return name, data[:4], data[4:]


def parsed_note(data):
    """The text and the lines of signatures."""
    if len(data) > 65536:
        raise Refused("note-length", found=len(data))
    try:
        note = data.decode()
    except UnicodeDecodeError as error:
        raise Refused("note-utf8", position=error.start)
    for at, byte in enumerate(data):
        if byte < 32 and byte != 10:
            raise Refused("note-control", position=at)
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise Refused("note-unsigned")
    signatures = []
    for number, line in enumerate(lines[:-1].split("\n"), 1):
        if number > 64:
            raise Refused("note-signatures")
        try:
            signatures.append(parsed_line(line))
        except Refused as refused:
            raise Refused("note-line", line=number, rule=refused.error)
    return text + "\n", signatures


def signed_notes(data, given):
    text, signatures = parsed_note(data)
    return {"text": text, "signatures": [
        {"name": name, "id": tohex(key), "signature": tohex(signature)}
        for name, key, signature in signatures]}


# --- Checkpoints: the log signs the text of the note. Cosigners sign three lines and that text.


def parsed_checkpoint(data):
    """Origin, size, root, text and signatures; nothing is verified."""
    text, signatures = parsed_note(data)
    lines = text[:-1].split("\n")
    if len(lines) < 3:
        raise Refused("lines")
    try:
        check_name(lines[0])
    except Refused as refused:
        raise Refused("origin-name", rule=refused.error)
    size, root = decimal(lines[1]), unbase64(lines[2])
    if size is None:
        raise Refused("size")
    check_size(size)
    if root is None or len(root) != 32:
        raise Refused("root-form")
    if "" in lines[3:]:
        raise Refused("extension")
    return lines[0], size, root, text, signatures


def lines_of(key, signatures):
    found = [line[2] for line in signatures if line[:2] == (key.name, key.id)]
    if not found:
        raise Refused("missing", name=key.name)
    return found


def verified_checkpoint(data, key):
    origin, size, root, text, signatures = parsed_checkpoint(data)
    if key.kind != KINDS[0]:
        raise Refused("key-kind", found=key.kind)
    if key.name != origin:
        raise Refused("other-log", expected=key.name, found=origin)
    # One that fits is enough: anyone can add a line.
    if not any(key.signed(text.encode(), line) for line in lines_of(key, signatures)):
        raise Refused("signature", name=key.name)
    return origin, size, root, len(signatures)


def checkpoints(data, given):
    origin, size, root, signatures = verified_checkpoint(data, Key(given["key"]))
    return {"origin": origin, "size": js(size), "root": name_of(root), "signatures": signatures}


def cosignatures(data, given):
    key = Key(given["key"])
    *_, text, signatures = parsed_checkpoint(data)
    if key.kind == KINDS[0]:
        raise Refused("key-kind", found=key.kind)
    header = "cosignature/v1" if key.kind == KINDS[1] else "mirror/v1"
    times = []
    for line in lines_of(key, signatures):
        time = int.from_bytes(line[:8], "big")
        message = f"{header}\ntime {time}\ncosigner {key.name}\n{text}".encode()
        if time < 1 << 63 and key.signed(message, line[8:]):
            times.append(time)
    if not times:
        raise Refused("signature", name=key.name)
    return {"time_s": js(max(times))}


# --- Requests to a witness: the size that it is thought to know, a proof from there, a checkpoint.


def parsed_request(data):
    if len(data) > 65536 + 63 * 45 + 32:
        raise Refused("request-length", found=len(data))
    first, newline, rest = data.partition(b"\n")
    number = first.removeprefix(b"old ").decode("latin-1")
    if not newline or not first.startswith(b"old ") or decimal(number) is None:
        raise Refused("old-line")
    proof = []
    while True:
        line, newline, rest = rest.partition(b"\n")
        if not newline:
            raise Refused("separator")
        if not line:
            return int(number), proof, rest
        if len(proof) == 63:
            raise Refused("proof-lines")
        proof.append(unbase64(line.decode("latin-1")))
        if proof[-1] is None or len(proof[-1]) != 32:
            raise Refused("proof-line", line=len(proof))


def witness_requests(data, given):
    try:
        old, proof, checkpoint = parsed_request(data)
        parsed_checkpoint(checkpoint)
    except Refused as refused:
        raise Refused(refused.error, status=400, **refused.detail)

    def refuse(error, status, known_size=None, rule=None):
        raise Refused(error, status=status, known_size=known_size, rule=rule)

    if given["key"] is None:
        refuse("unknown-log", 404)
    try:
        _, size, root, _ = verified_checkpoint(checkpoint, Key(given["key"]))
    except Refused as refused:
        refuse("not-signed", 403, rule=refused.error)
    if old > size:
        refuse("old-size", 400)
    state = given["state"] or {"size": 0, "root": name_of(hashed(b""))}
    known, known_root = int(state["size"]), hash_named(state["root"])
    if old != known:
        refuse("conflict", 409, known_size=known)
    if size == known and root != known_root:
        refuse("forked", 409, known_size=known)
    try:
        check_consistency(known, known_root, size, root, proof)
    except Refused as refused:
        refuse("proof", 422, rule=refused.error)
    return {"status": 200, "size": size, "root": name_of(root)}


CHECKS = {"checkpoints": checkpoints, "consistency-proofs": consistency_proofs,
          "cosignatures": cosignatures, "entry-bundles": entry_bundles,
          "inclusion-proofs": inclusion_proofs, "log-origins": log_origins,
          "signed-notes": signed_notes, "tile-lists": tile_lists, "tile-paths": tile_paths,
          "tiles": tiles, "verifier-keys": verifier_keys, "witness-requests": witness_requests}
