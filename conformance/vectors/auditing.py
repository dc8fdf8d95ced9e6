"""What an auditor finds in a coordinator's log: reads the entries in order and keeps who has which
task, how each miner's work turned out and which roster is in force, and so can make each draw again.

An entry counts even where it breaks a rule, since it is in the log; the faults are what is reported.
"""
import json

import receipts
from documents import Refused, decode, decode_as, js, name_of
from network import (
    BODIES, DOCUMENTS, MinerRecord, beacon, check_key, check_signed, draw, hashed, log_entry,
    picked, random_output, weights)
from translog import hash_named, unhex


class Task:
    def __init__(self):
        self.held, self.replicas, self.accepted = [], {}, 0


class Auditor:
    def __init__(self, file):
        genesis, membership = unhex(file["genesis"]), unhex(file["membership"])
        self.genesis = decode_as(DOCUMENTS["genesis-documents"], genesis)
        self.network, self.membership_hash = hashed(genesis), hashed(membership)
        self.members = {member["node"]: member for member in
                        decode_as(DOCUMENTS["memberships"], membership)["miners"]}
        self.coordinator = file["coordinator"]
        self.rosters = {name: (hashed(unhex(data)), decode_as(DOCUMENTS["rosters"], unhex(data)))
                        for name, data in file["rosters"].items()}
        self.specs = {name: decode("task-specs", unhex(data)) for name, data in file["tasks"].items()}
        self.force = None  # Leaf, output and roster.
        self.leases, self.tasks, self.records = {}, {}, {}
        self.unjudged, self.newest, self.over = {}, {}, set()
        self.faults, self.draws, self.leaf = [], [], 0

    def fault(self, error, **detail):
        self.faults.append(Refused(error, leaf=self.leaf, **detail))

    def field(self, name):
        self.fault("field", field=name)

    def record(self, node):
        return self.records.setdefault(node, MinerRecord())

    def load(self):
        open = {}
        for lease, _ in self.leases.values():
            open[lease["miner"]] = open.get(lease["miner"], 0) + 1
        return open

    # --- Entries.

    def read(self, data):
        try:
            kind, body, raw = log_entry(data)
        except Refused as refused:
            return self.fault(refused.error, **refused.detail)
        try:
            getattr(self, kind)(body, raw)
        except Refused as refused:
            self.fault(refused.error, **refused.detail)
        if kind in ("verdict", "cancel", "receipt"):
            task = body["body"]["task"] if kind == "receipt" else body["task"]
            ended = kind == "cancel" and body["by"] != "decided"
            self.forget(task, ended)

    def forget(self, name, ended):
        """Forgets a task that is over and has no open lease, so that another lease is a fault."""
        task = self.tasks.get(name)
        if task and (ended or task.accepted) and not any(open for _, open in task.replicas.values()):
            del self.tasks[name]
            self.over.add(name)

    def roster(self, entry, raw):
        before, self.force = self.force, None
        if entry["root"] not in self.rosters:
            return  # What comes after it cannot be checked.
        digest, roster = self.rosters[entry["root"]]
        wrong = self.misfit(entry, digest, roster, before)
        if wrong:
            self.field(wrong)
        check_key(unhex(self.coordinator))
        output = random_output(entry, hash_named(self.network), hash_named(roster["beacon"]),
                               self.leaf, unhex(self.coordinator))
        if output is None:
            return self.fault("vrf")
        self.force = self.leaf, output, roster

    def misfit(self, entry, digest, roster, before):
        """The first field of a roster that is not what the log and the membership say."""
        candidates, least = roster["candidates"], int(self.genesis["miner_stake_min"])
        if digest != entry["root"]:
            return "root"
        if roster["epoch"] != entry["epoch"] or before and int(entry["epoch"]) < int(before[2]["epoch"]):
            return "epoch"
        if roster["beacon"] != beacon(hash_named(self.network), int(roster["epoch"])):
            return "beacon"
        if any(c["quality_ppm"] != self.records.get(c["node"], MinerRecord()).quality()
               for c in candidates):
            return "quality_ppm"
        pairs = [(int(c["stake"]), int(c["quality_ppm"])) for c in candidates]
        expected = list(weights(least, self.genesis["saturation"], pairs))
        if expected != [int(c["weight"]) for c in candidates]:
            return "weight"
        if roster["membership"] != self.membership_hash:
            return "membership"
        for candidate in candidates:
            member = self.members.get(candidate["node"])
            if not member or member["jailed"] is not None or member["stake"] != candidate["stake"] \
                    or int(member["stake"]) < least:
                return "candidates"

    def assignment(self, value, raw):
        body, signature, name = raw[0], raw[1], hashed(raw[0])
        try:
            a = decode_as(BODIES["assignment"], body)
        except Refused as refused:  # One that is none at all changes nothing.
            raise Refused("body", rule=refused.error)
        try:
            check_signed("assignment", body, signature, lambda _: self.coordinator)
        except Refused as refused:
            self.fault(refused.error, **refused.detail)
        for wrong in filter(None, (self.stranger(a), self.untimely(a))):
            self.field(wrong)
        if a["task"] in self.specs and self.force:
            self.redraw(a)
        if name in self.leases or name in self.over:
            return self.fault("twice", what=name)
        task = self.tasks.setdefault(a["task"], Task())
        task.held.append(a["miner"])
        task.replicas[a["replica"]] = a["attempt"] + 1, True
        self.leases[name] = a, self.leaf

    def stranger(self, a):
        for name, own in (("genesis", self.network), ("coordinator", self.coordinator)):
            if a[name] != own:
                return name
        if not self.force or (int(a["roster"]), a["epoch"]) != (self.force[0], self.force[2]["epoch"]):
            return "roster"

    def untimely(self, a):
        """Attempt k + 1 needs the logged end of attempt k, and a task that is over gets no more."""
        if a["task"] in self.over:
            return "task"
        task = self.tasks.get(a["task"], Task())
        due, open = task.replicas.get(a["replica"], (0, False))
        if open or a["attempt"] != due:
            return "attempt"

    def redraw(self, a):
        _, output, roster = self.force
        held = self.tasks[a["task"]].held if a["task"] in self.tasks else []
        number, eligible, nobody = draw(
            output, hash_named(a["task"]), a["attempt"], a["replica"],
            self.specs[a["task"]]["requirements"], a["local"], roster["candidates"], held, self.load())
        if not eligible:
            return self.fault("nobody-eligible", nobody=nobody, found=a["miner"])
        node = picked(number, eligible)
        self.draws.append({"leaf": self.leaf, "number": name_of(number), "miner": node})
        if node != a["miner"]:
            self.fault("other-miner", expected=node, found=a["miner"])

    def ended(self, name):
        """Ends a lease; `None` if it is not open."""
        if name not in self.leases:
            return None
        a, _ = self.leases.pop(name)
        if a["task"] in self.tasks:
            replicas = self.tasks[a["task"]].replicas
            if a["replica"] in replicas:
                replicas[a["replica"]] = replicas[a["replica"]][0], False
        self.over.add(name)
        return a

    def receipt(self, receipt, raw):
        body, name = receipt["body"], hashed(raw[:392])
        self.signature(body, raw)
        if name in self.over or name in self.unjudged:
            return self.fault("twice", what=name)
        lease = self.ended(body["assignment"])
        if body["network"] != "0x" + self.network[7:15]:
            self.field("network")
        if body["coordinator"] != self.coordinator:
            self.field("coordinator")
        if lease and any(lease[key] != body[key] for key in ("miner", "task", "epoch")):
            self.field("assignment")
        seq, (last, newest) = int(body["seq"]), self.newest.get(body["miner"], (0, name_of(bytes(32))))
        if seq <= last:
            self.field("seq")
        elif seq == last + 1 and body["prev"] != newest:
            self.field("prev")
        if seq > last:
            self.newest[body["miner"]] = seq, name
        self.over.add(name)
        self.unjudged[name] = body, lease is not None

    def signature(self, body, raw):
        try:
            receipts.verify(unhex(body["miner"]), raw[:392], raw[392:456], "miner-signature",
                            role="miner")
        except Refused as refused:
            self.fault(refused.error, **refused.detail)

    def verdict(self, verdict, raw):
        accepted = sum(judged["decision"] == "accepted" for judged in verdict["receipts"])
        for judged in verdict["receipts"]:
            body, in_time = self.unjudged.pop(judged["receipt"], (None, None))
            if body is None:
                self.fault("not-unjudged", receipt=judged["receipt"])
                continue
            decision = judged["decision"]
            if body["task"] != verdict["task"]:
                self.field("task")
            if decision == "accepted" and not in_time:
                self.field("decision")
            if decision == "accepted":
                self.record(body["miner"]).add("agreed" if accepted > 1 else "accepted")
            elif decision in ("outvoted", "refused-by-validator", "mismatch") or \
                    decision == "not-attestable" and body["status"] == "host-fault":
                self.record(body["miner"]).add("failed")
        if verdict["task"] in self.tasks:
            self.tasks[verdict["task"]].accepted += accepted

    def expiry(self, expiry, raw):
        lease = self.ended(expiry["assignment"])
        if lease is None:
            return self.fault("not-open", assignment=expiry["assignment"])
        if int(expiry["at_ms"]) < int(lease["deadline_ms"]):
            self.field("at_ms")
        if expiry["acceptance"] is None:
            return  # It does not count against the miner, who may not have known of it.
        accepted = check_signed("acceptance", raw[2][0], raw[2][1], lambda _: lease["miner"])
        if (accepted["assignment"], accepted["miner"]) != (expiry["assignment"], lease["miner"]):
            return self.field("acceptance")
        self.record(lease["miner"]).add("failed")

    def cancel(self, cancel, raw):
        for name in cancel["assignments"]:
            lease = self.ended(name)
            if lease is None:
                self.fault("not-open", assignment=name)
            elif lease["task"] != cancel["task"]:
                self.field("task")

    # --- What is left at the end.

    def value(self):
        load, miners = self.load(), {}
        for node in self.members:
            record = self.records.get(node, MinerRecord())
            seq, newest = self.newest.get(node, (0, name_of(bytes(32))))
            miners[node] = record.value() | {
                "open": load.get(node, 0), "seq": js(seq), "newest": newest}
        open = [{"leaf": leaf, "assignment": name} for name, (_, leaf) in self.leases.items()]
        return {"miners": miners, "draws": self.draws, "open": sorted(open, key=lambda o: o["leaf"])}


def audited_logs(data, given):
    file = json.loads(data)
    auditor = Auditor(file)
    for auditor.leaf, entry in enumerate(file["entries"]):
        auditor.read(unhex(entry))
    if len(auditor.faults) > 1:
        raise Refused(f"more than one fault: {auditor.faults}")
    if auditor.faults:
        raise auditor.faults[0]
    return auditor.value()


CHECKS = {"audited-logs": audited_logs}
