"""Receipts, and signatures of receipts as stock tools check them."""
import json, struct

import blake3
import sr25519

from documents import Refused, js, name_of
from translog import tohex, unhex

# --- Signatures: sr25519 (schnorrkel) under the signing context `substrate`, that of stock tools.


def verify(key, message, signature, error, **detail):
    # Under a key of zeros, the identity, anyone can sign; stock packages accept such signatures.
    if key == bytes(32):
        raise Refused("zero-key", **detail)
    try:
        good = sr25519.verify(signature, message, key)
    except ValueError as problem:  # The package refuses malformed keys and signatures by raising.
        if "public key" in str(problem):
            raise Refused("not-a-point", **detail)
        good = False
    if not good:
        raise Refused(error)


def signatures(data, given):
    file = json.loads(data)
    verify(unhex(file["public"]), unhex(file["message"]), unhex(file["signature"]), "signature")
    return {"verifies": True}


# --- Receipts: 520 bytes, of which the miner signs the first 392 and the coordinator `aditcnsg` and
# the first 456, that is the miner's signature too. The id is the hash of the first 392: a body has
# many valid signatures, so they are no part of it.

STATUSES = {0: "ok", 1: "task-error", 2: "trap", 3: "out-of-fuel", 4: "limit-exceeded",
            5: "invalid-component", 16: "stack-overflow", 17: "deadline", 18: "host-fault",
            19: "cancelled", 20: "unavailable", 21: "compile-limit"}
NUMBERS = ["epoch", "seq", "start_ms", "duration_us", "fuel", "nn_units", "peak_memory"]
HASHES = ["task", "assignment", "component", "input", "output", "transcript", "environment", "prev"]


def parsed(data):
    """The fields as JSON has them; no signature is checked."""
    if len(data) != 520:
        raise Refused("length", expected=520, found=len(data))
    magic, network, version, status, flags = struct.unpack_from("<8s4sHBB", data)
    if magic != b"aditrcpt":
        raise Refused("magic")
    if version != 1:
        raise Refused("version", version=version)
    if status not in STATUSES:
        raise Refused("status", status=status)
    if flags & ~3:  # Bit 0: a GPU ran; bit 1: nn was used; the others are reserved.
        raise Refused("flags", flags=flags)
    body = dict(zip(NUMBERS, map(js, struct.unpack_from("<7Q", data, 16))))
    fields = [data[at:at + 32] for at in range(72, 392, 32)]
    miner, coordinator = fields[0], fields[1]
    body |= dict(zip(HASHES, map(name_of, fields[2:])))
    body |= {"network": "0x" + network.hex(), "status": STATUSES[status], "gpu": bool(flags & 1),
             "nn": bool(flags & 2), "miner": tohex(miner), "coordinator": tohex(coordinator)}
    return {"body": body, "miner_signature": tohex(data[392:456]),
            "coordinator_signature": tohex(data[456:])}


def receipts(data, given):
    receipt = parsed(data)
    network, by_miner, by_coordinator = data[8:12], data[392:456], data[456:]
    miner, coordinator, assignment = data[72:104], data[104:136], data[168:200]
    # A local run has the network zero, and nothing that only a network can give.
    local = network == bytes(4)
    for field, value in [("coordinator", coordinator), ("assignment", assignment),
                         ("countersignature", by_coordinator)]:
        if local and any(value):
            raise Refused("not-local", field=field)
    if not local and not any(by_coordinator):
        raise Refused("not-countersigned")
    verify(miner, data[:392], by_miner, "miner-signature", role="miner")
    if not local:
        message = b"aditcnsg" + data[:456]
        verify(coordinator, message, by_coordinator, "coordinator-signature", role="coordinator")
    return {"id": name_of(blake3.blake3(data[:392]).digest()),
            "countersignature": "not-performed" if local else "checked",
            "receipt": receipt}


def countersignatures(data, given):
    receipts(data, given)
    return {"message": tohex(b"aditcnsg" + data[:456]), "coordinator": tohex(data[104:136]),
            "signature": tohex(data[456:])}
