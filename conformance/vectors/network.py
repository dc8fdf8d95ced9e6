"""Networks: who takes part, who is drawn for a task, and what is signed, sent and logged.

The documents are read as those of documents.py. A signed document is a map of the encoded document
and a signature over it, under a context of its own.
"""
import json, struct

import blake3

import receipts
import schnorr
from documents import (
    Map, Record, Refused, amount, array, ascending, b, blob, choice, decode, decode_as, flag, h, js,
    name_of, need, optional, parsed, t, u)
from translog import hash_named, tohex, unhex

# --- The documents: fields, the longest document, the most items, the longest text and byte string.


def sorted_by(field):
    return lambda values: ascending([value[field] for value in values])


def genesis_rules(genesis):
    if int(genesis["epoch_ms"]) < 1000:
        return "epoch_ms"
    for field in ("miner_stake_min", "saturation"):
        if int(genesis[field]) == 0:
            return field


GENESIS = Record(
    genesis_rules, name=t(64, 1), created_ms=u(64), authority=b(32), epoch_ms=u(64),
    miner_stake_min=amount, coordinator_stake_min=amount, saturation=u(32), development=flag)
MEMBERSHIP = Record(
    genesis=h, version=u(64), engines=array(h, 64, lambda list: list and ascending(list)),
    coordinators=array(Record(
        lambda member: "log" if member["log"] == member["node"] else None,
        node=b(32), log=b(32), account=b(32), stake=amount, url=t(512, 1), region=t(64),
        introduction=t(512)), 16384, sorted_by("node")),
    miners=array(Record(
        node=b(32), account=b(32), stake=amount, jailed=optional(t(512, 1)),
        introduction=t(512)), 16384, sorted_by("node")),
    witnesses=array(Record(name=t(256, 1), cosign=b(32), url=t(512)), 16384, sorted_by("name")))
ROSTER = Record(
    epoch=u(64), beacon=h, membership=h, region=t(64), candidates=array(Record(
        lambda c: "quality_ppm" if int(c["quality_ppm"]) > 1_000_000 else None,
        node=b(32), stake=amount, slots=u(32), cpu=flag, gpu_memory_bytes=optional(u(64)),
        environments=array(h, 64, ascending), quality_ppm=u(64), locality=u(8), weight=u(64)),
        16384, sorted_by("node")))
ROSTER_ENTRY = Record(epoch=u(64), root=h, made_ms=u(64), vrf_point=b(32), vrf_proof=b(64))

# What is signed, by the name in its context.
BODIES = {
    "membership": (MEMBERSHIP, 8 << 20, 16384, 1024),
    "assignment": (Record(
        lambda a: None if int(a["deadline_ms"]) > int(a["issued_ms"]) else "deadline_ms",
        genesis=h, coordinator=b(32), miner=b(32), task=h, attempt=u(32), replica=u(32),
        roster=u(64), epoch=u(64), local=flag, issued_ms=u(64), deadline_ms=u(64), escrow=amount,
        terms=optional(Record(price=amount, attempt_fee=amount, replicas=u(8)))),
        512, 4096, 1024),
    "acceptance": (Record(assignment=h, miner=b(32), at_ms=u(64)), 128, 4096, 1024),
    "active": (Record(genesis=h, coordinator=b(32), miner=b(32), at_ms=u(64), until_ms=u(64)),
               256, 4096, 1024),
}


def signed(kind):
    """The signed form; the document inside is `None` where it is malformed."""
    def read(value, path):
        # Before any field is read: there are two of them, in this order.
        need(type(value) is Map and list(value) == [0, 1])
        body, signature = blob(value[0], path), b(64)(value[1], path)
        try:
            body = decode_as(BODIES[kind], unhex(body))
        except Refused:
            body = None
        return {"body": body, "signature": signature}
    return read


def signed_bounds(kind):
    most = BODIES[kind][1]
    return signed(kind), most + 128, 4096, 1024, max(most, 64)


# Hashes, blobs and documents of others in messages are not looked into.
WORK = Record(assignment=signed("assignment"), task=blob, exec=blob, blobs=array(blob, 4096),
              traceparent=optional(t(1024, control=True)))
PROGRESS = Record(assignment=h, number=u(64), done=u(64), total=u(64), note=t(4096, control=True),
                  chunk=optional(blob))
OPENING = Record(input=h, output=h, transcript=h)
HAND_IN = Record(receipt=blob, opening=OPENING, blobs=array(blob, 4096),
                 detail=optional(t(4096, control=True)), log=optional(blob))
RESULT = Record(leaf=optional(u(64)), countersignature=optional(blob),
                refused=optional(t(4096, control=True)), detail=optional(t(4096, control=True)),
                missing=array(h, 4096))
HASHES = array(h, 4096)

DOCUMENTS = {
    "genesis-documents": (GENESIS, 1024, 4096, 1024),
    "memberships": BODIES["membership"],
    "network-files": (Record(
        # A rule of the genesis document is named as it is in the document by itself.
        genesis=lambda value, path: GENESIS(value, []), membership=signed("membership")),
        (8 << 20) + 2048, 16384, 1024, 8 << 20),
    "rosters": (ROSTER, 16 << 20, 16384, 1024),
    "roster-entries": (ROSTER_ENTRY, 512, 4096, 1024),
    "hellos": (Record(
        lambda hello: None if 0 < hello["slots"] <= 4096 else "slots",
        genesis=h, software=t(64, 1), engine=h,
        devices=array(Record(environment=blob, gpu=flag, memory_bytes=u(64)), 64, bool),
        slots=u(32), hardware=optional(blob)), 2 << 20, 4096, 1024, (64 << 10) + 128),
    "welcomes": (Record(active=signed("active"), last_seq=u(64), last_receipt=h, open=HASHES,
                        echo=b(32)), 256 << 10, 4096, 1024, 256),
    "echoes": (Record(echo=b(32)), 64, 4096, 1024),
    "polls": (Record(want=u(32), wait_ms=u(32), accepted=array(signed("acceptance"), 256),
                     working=HASHES), 1 << 20, 4096, 1024, 128),
    "poll-answers": (Record(active=signed("active"), work=array(WORK, 4096), ended=HASHES,
                            idle=optional(t(1024, control=True)), echo=optional(blob)),
                     32 << 20, 4096, 1024, 1 << 20),
    "progress-reports": (Record(reports=array(PROGRESS, 256)), 4 << 20, 4096, 4096, 256 << 10),
    "hand-ins": (Record(items=array(HAND_IN, 256)), 32 << 20, 4096, 4096, 64 << 10),
    "hand-in-answers": (Record(results=array(RESULT, 4096)), 4 << 20, 4096, 4096),
}


def hashed(data):
    return name_of(blake3.blake3(data).digest())


def document(kind, data):
    return {"hash": hashed(data), "document": decode_as(DOCUMENTS[kind], data)}


# --- Signatures.


def check_key(key):
    if not any(key):  # The identity, under which anyone can sign.
        raise Refused("zero-key")
    if schnorr.decoded(key) is None:
        raise Refused("not-a-point")


def check_signed(kind, body, signature, signer):
    """The document, if it is well formed and the key that `signer` finds in it signed it."""
    try:
        value = decode_as(BODIES[kind], body)
    except Refused as refused:
        raise Refused("body", rule=refused.error)
    key = unhex(signer(value))
    check_key(key)
    if not schnorr.verified(f"adit-{kind}-v1".encode(), body, key, signature):
        raise Refused("signature")
    return value


def signed_documents(kind, signer):
    def check(data, given):
        bounds = signed_bounds(kind)
        raw = parsed(bounds, data)
        value = bounds[0](raw, [])
        check_signed(kind, raw[0], raw[1], lambda document: document[signer])
        return {"hash": hashed(raw[0]), "document": value}
    return check


# --- Networks. The hash of the genesis document is the network's name.


def beacon(genesis, epoch):
    """The beacon of an epoch; `genesis` is the hash, as 32 bytes."""
    context = "adit file beacon v1"
    data = genesis + struct.pack("<Q", epoch)
    return name_of(blake3.blake3(data, derive_key_context=context).digest())


def genesis_documents(data, given):
    value = document("genesis-documents", data)
    genesis, digest = value["document"], hash_named(value["hash"])
    since = int(given["now_ms"]) - int(genesis["created_ms"])
    epoch = js(max(0, since) // int(genesis["epoch_ms"]))
    return value | {"network_id": tohex(digest[:4]), "epoch": epoch,
                    "beacons": [beacon(digest, at) for at in (0, 1, (1 << 64) - 1)]}


def network_files(data, given):
    value = document("network-files", data)
    raw = parsed(DOCUMENTS["network-files"], data)
    genesis = value["document"]["genesis"]
    body, signature = raw[1][0], raw[1][1]
    membership = check_signed("membership", body, signature, lambda _: genesis["authority"])
    # Its encoding lies behind the map's head and the key 0, and before the key 1.
    expected = hashed(data[2:raw[1].at - 1])
    if membership["genesis"] != expected:
        raise Refused("other-network", expected=expected, found=membership["genesis"])
    return value | {"membership": hashed(body)}


# --- Rosters: weights, and the verifiable random output that draws are made from.


def random_output(entry, genesis, beacon, leaf, coordinator):
    """The output of an entry as 32 bytes; all but the entry and the leaf are bytes."""
    message = genesis + beacon + struct.pack("<Q", leaf) + hash_named(entry["root"])
    return schnorr.random_output(
        b"adit-roster-vrf-v1", message, coordinator, unhex(entry["vrf_point"]),
        unhex(entry["vrf_proof"]), b"adit-vrf-output-v1")


def roster_entries(data, given):
    value = document("roster-entries", data)
    coordinator = unhex(given["coordinator"])
    check_key(coordinator)
    output = random_output(value["document"], hash_named(given["genesis"]),
                           hash_named(given["beacon"]), int(given["leaf"]), coordinator)
    if output is None:
        raise Refused("signature")
    return value | {"output": name_of(output)}


def weights(least, saturation, candidates):
    """Weights of (stake, quality in parts per million), rounded down at each division."""
    most = min(least * saturation, (1 << 128) - 1)
    shift = max(0, most.bit_length() - 81)  # So that 128 bits are enough for the products.
    stakes = [min(stake, most) >> shift for stake, _ in candidates]
    units = [min(stake // least, saturation) for stake, _ in candidates]

    def share(part, of, total):
        return part * of // total if total else 0
    for (_, quality), stake, unit in zip(candidates, stakes, units):
        whole = share(stake, 700_000_000, sum(stakes)) + share(unit, 300_000_000, sum(units))
        yield max(1, whole * quality // 1_000_000) if quality else 0


def roster_weights(data, given):
    file = json.loads(data)
    candidates = [(int(c["stake"]), int(c["quality_ppm"])) for c in file["candidates"]]
    total = 0
    expected = weights(int(file["miner_stake_min"]), file["saturation"], candidates)
    for at, (weight, candidate) in enumerate(zip(expected, file["candidates"])):
        if int(candidate["weight"]) != weight:
            raise Refused("weight", candidate=at, expected=str(weight))
        total += weight
    return {"total": str(total)}


# --- Draws.

ENDS_US = [5_000, 20_000, 60_000, 150_000]
FACTORS = [1_000_000, 800_000, 600_000, 400_000, 250_000]


def factor(locality):
    return FACTORS[min(locality, 4)]


def localities(data, given):
    file = json.loads(data)
    time = file["round_trip_us"]
    expected = 4 if time is None else sum(end <= int(time) for end in ENDS_US)
    if file["class"] != expected:
        raise Refused("locality", expected=expected)
    return {"factor_ppm": factor(expected)}


def meets(candidate, wanted):
    gpu = candidate["gpu_memory_bytes"]
    large = gpu is not None and int(gpu) >= int(wanted["device_memory_bytes"])
    device = {"any": candidate["cpu"] or large, "cpu": candidate["cpu"], "gpu": large}
    environments = wanted["environments"]
    return device[wanted["device"]] and (
        not environments or any(one in candidate["environments"] for one in environments))


def draw(output, task, attempt, replica, wanted, local, candidates, held, load):
    """The number as 32 bytes, the eligible with their weights, and why the others are not."""
    number = blake3.blake3(output + task + struct.pack("<II", attempt, replica)).digest()
    eligible, nobody = [], dict(candidates=len(candidates), unmet=0, held=0, busy=0, weightless=0)
    for candidate in candidates:
        node, weight = candidate["node"], int(candidate["weight"])
        if not meets(candidate, wanted):
            nobody["unmet"] += 1
        elif node in held:
            nobody["held"] += 1
        elif load.get(node, 0) >= candidate["slots"]:
            nobody["busy"] += 1
        elif weight == 0:
            nobody["weightless"] += 1
        else:
            by = factor(candidate["locality"]) if local else 1_000_000
            eligible.append((node, max(1, weight * by // 1_000_000)))
    return number, eligible, nobody


def picked(number, eligible):
    """On whom a number falls; somebody must be eligible."""
    left = int.from_bytes(number[:16], "little") % sum(weight for _, weight in eligible)
    for node, weight in eligible:
        if left < weight:
            return node
        left -= weight


def draws(data, given):
    file = json.loads(data)
    task = unhex(file["task_spec"])
    spec, roster = decode("task-specs", task), decode_as(DOCUMENTS["rosters"], unhex(file["roster"]))
    task = blake3.blake3(task).digest()
    number, eligible, nobody = draw(
        hash_named(file["vrf_output"]), task, file["attempt"], file["replica"],
        spec["requirements"], file["local"], roster["candidates"], file["held"], file["load"])
    if not eligible:
        raise Refused("nobody", **nobody)
    node = picked(number, eligible)
    if file["picked"] != node:
        raise Refused("picked", expected=node)
    verification, streak = spec["verification"], file["streak"]
    chance = streak and int.from_bytes(number[16:], "little") % streak == 0
    trusted = verification["adaptive"] and streak >= 10 and not chance
    replicas = 1 if trusted else verification["replicas"]
    if file["replicas"] != replicas:
        raise Refused("replicas", expected=replicas)
    return {"task": name_of(task), "number": name_of(number), "eligible": [
        {"node": node, "weight": js(weight)} for node, weight in eligible]}


class MinerRecord:
    """How a miner's work turned out. From 256 results on the older ones count half."""

    def __init__(self):
        self.good = self.bad = self.streak = 0

    def add(self, event):
        if event == "failed":
            self.bad, self.streak = self.bad + 1, 0
        else:
            self.good, self.streak = self.good + 1, self.streak + (event == "agreed")
        if self.good + self.bad >= 256:
            self.good, self.bad = self.good // 2, self.bad // 2

    def quality(self):
        good = 8 + self.good
        return good * 1_000_000 // (good + 4 * self.bad)

    def value(self):
        return {"good": self.good, "bad": self.bad, "streak": self.streak}


def miner_records(data, given):
    file, record = json.loads(data), MinerRecord()
    for event, count in file["events"]:
        for _ in range(count):
            record.add(event)
    if file["quality_ppm"] != record.quality():
        raise Refused("quality", expected=record.quality())
    return record.value()


# --- Entries of a log: a type, and a body.

DECISIONS = ("accepted", "outvoted", "no-quorum", "refused-by-validator", "late", "mismatch",
             "not-attestable", "task-cancelled")
ENTRIES = {
    2: ("verdict", (Record(
        task=h, receipts=array(Record(receipt=h, decision=choice(*DECISIONS)), 1024, bool),
        validator=optional(h)), 48 << 10, 1024, 1024)),
    3: ("roster", DOCUMENTS["roster-entries"]),
    4: ("expiry", (Record(assignment=h, at_ms=u(64), acceptance=optional(signed("acceptance"))),
                   512, 4096, 1024, 128)),
    5: ("cancel", (Record(task=h, by=choice("client", "coordinator", "decided"), at_ms=u(64),
                          assignments=array(h, 256)), 16 << 10, 4096, 1024)),
    6: ("assignment", signed_bounds("assignment")),
}


def log_entry(data):
    """The type, the body as JSON has it, and as it was parsed."""
    if not data:
        raise Refused("entry-empty")
    kind, body = data[0], data[1:]
    if kind == 1:
        try:
            return "receipt", receipts.parsed(body), body
        except Refused as refused:
            raise Refused("entry-receipt", rule=refused.error)
    if kind not in ENTRIES:
        raise Refused("entry-type", type=kind)
    name, bounds = ENTRIES[kind]
    try:
        raw = parsed(bounds, body)
        return name, bounds[0](raw, []), raw
    except Refused as refused:
        called = {"roster": "roster entry", "assignment": "signed assignment"}.get(name, name)
        raise Refused("entry-document", document=called, rule=refused.error)


def log_entries(data, given):
    name, body, _ = log_entry(data)
    return {"type": name, "body": body}


CHECKS = {kind: lambda data, given, kind=kind: document(kind, data) for kind in DOCUMENTS}
CHECKS |= {"genesis-documents": genesis_documents, "network-files": network_files,
           "roster-entries": roster_entries, "roster-weights": roster_weights,
           "localities": localities, "miner-records": miner_records, "draws": draws,
           "log-entries": log_entries,
           "assignments": signed_documents("assignment", "coordinator"),
           "acceptances": signed_documents("acceptance", "miner"),
           "active-untils": signed_documents("active", "coordinator")}
