"""The CBOR documents: deterministic CBOR (RFC 8949, 4.2.1) and the fields of each document.

A document is one map with small integer keys. A reader first passes over the bytes and refuses
whatever has a second form (`parse`), then reads the fields by type (`Record`), and last refuses
fields that it does not know. So each document has exactly one encoding, and the hash of that names
it.
"""


class Refused(Exception):
    """Why a file is refused: the error in its index, and what is known of it."""

    def __init__(self, error, **detail):
        super().__init__(error, detail)
        self.error, self.detail = error, detail

    def fits(self, error, detail):
        return self.error == error and all(
            # A reader may say more exactly than the index which field it was.
            self.detail[key].startswith(value) or value.startswith(self.detail[key])
            if key == "field" else self.detail[key] == value
            for key, value in (detail or {}).items())


def js(number):
    return number if number < 1 << 53 else str(number)


def name_of(digest):
    return "blake3:" + digest.hex()


# --- The pass over the bytes.

DEPTH = 8
NO_KIND = "a kind of value that no document uses"


class Map(dict):
    """A map that knows where it began."""

    at = 0


class Parser:
    def __init__(self, data, items_max, text_max, bytes_max):
        self.data, self.at = data, 0
        self.items_max, self.text_max, self.bytes_max = items_max, text_max, bytes_max

    def refuse(self, at, what):
        raise Refused("not-deterministic", at=at, what=what)

    def bound(self, at, what, found, most):
        if found > most:
            raise Refused("over-bound", at=at, what=what, found=js(found), max=most)

    def take(self, count):
        if self.at + count > len(self.data):
            raise Refused("cut-off", at=len(self.data))
        self.at += count
        return self.data[self.at - count:self.at]

    def head(self):
        """The kind of an item and its number or length, which must have the shortest form."""
        at, first = self.at, self.take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info
        if info > 27:
            self.refuse(at, "a length that is not given in advance" if info == 31
                        else "a reserved initial byte")
        if major == 7:
            self.refuse(at, "a float or an unassigned simple value")
        width = 1 << info - 24
        number = int.from_bytes(self.take(width), "big")
        if number < (24 if width == 1 else 1 << 4 * width):
            self.refuse(at, "an integer or length that is not in its shortest form")
        return major, number

    def item(self, depth=DEPTH):
        at = self.at
        major, number = self.head()
        if major == 0:
            return number
        if major == 2:
            self.bound(at, "byte string", number, self.bytes_max)
            return self.take(number)
        if major == 3:
            self.bound(at, "text", number, self.text_max)
            try:
                return self.take(number).decode()
            except UnicodeDecodeError:
                self.refuse(at, "a text that is not UTF-8")
        if major in (4, 5):
            self.bound(at, "array" if major == 4 else "map", number, self.items_max)
            self.bound(at, "nesting", DEPTH - depth + 1, DEPTH)
            if major == 4:
                return [self.item(depth - 1) for _ in range(number)]
            return self.map(at, number, depth - 1)
        if (major, number) == (6, 2):
            return self.large()
        if major == 7 and number in (20, 21):
            return number == 21
        self.refuse(at, NO_KIND)

    def map(self, at, count, depth):
        entries, previous = Map(), b""
        entries.at = at
        for _ in range(count):
            start = self.at
            key = self.item(0)
            raw = self.data[start:self.at]
            if raw[0] >> 5 not in (0, 3):
                self.refuse(start, "a key that is neither an integer nor a text")
            # As bytes, so that a shorter key stands before a longer one.
            if raw <= previous:
                self.refuse(start, "a key that is repeated or out of order")
            previous, entries[key] = raw, self.item(depth)
        return entries

    def large(self):
        """An integer above 64 bits: tag 2 and its bytes, the highest first."""
        at = self.at
        major, length = self.head()
        if major != 2 or not 9 <= length <= 16:
            self.refuse(at, "a large integer that is not 9 to 16 bytes")
        raw = self.take(length)
        if raw[0] == 0:
            self.refuse(at, "a large integer with a leading zero")
        return Large(int.from_bytes(raw, "big"))


class Large(int):
    """An integer that came with a tag, which only amounts may have."""


# --- The types of fields. Each is a function of a value and the field's path, and returns its JSON.


def need(condition):
    if not condition:
        raise Refused("malformed")


def rule(condition, path):
    if not condition:
        raise Refused("invalid", field=".".join(path))


def u(bits):
    def read(value, path):
        need(type(value) is int and value < 1 << bits)
        return js(value)
    return read


def amount(value, path):
    need(type(value) in (int, Large))
    return str(int(value))


def b(length):
    def read(value, path):
        need(type(value) is bytes and len(value) == length)
        return "0x" + value.hex()
    return read


def blob(value, path):
    """Bytes of any length, which the document's bound limits."""
    need(type(value) is bytes)
    return "0x" + value.hex()


def h(value, path):
    return "blake3:" + b(32)(value, path)[2:]


def flag(value, path):
    need(type(value) is bool)
    return value


def choice(*names):
    def read(value, path):
        need(type(value) is int and value < len(names))
        return names[value]
    return read


def t(most, least=0, control=False):
    """A text; control characters could forge lines of whoever's terminal shows it."""
    def read(value, path):
        need(type(value) is str)
        rule(least <= len(value.encode()) <= most, path)
        rule(control or not any(c < " " or "\x7f" <= c <= "\x9f" for c in value), path)
        return value
    return read


def args(value, path):
    """The arguments of a guest may hold any character but NUL."""
    need(type(value) is list and all(type(arg) is str for arg in value))
    rule(len(value) <= 1024 and not any("\0" in arg for arg in value), path)
    rule(sum(len(arg.encode()) for arg in value) <= 512 * 1024, path)
    return value


def array(inner, most, check=lambda values: True):
    def read(value, path):
        need(type(value) is list)
        values = [inner(item, path) for item in value]
        rule(len(values) <= most and check(values), path)
        return values
    return read


def table(name, inner, most, least=0):
    def read(value, path):
        need(type(value) is Map)
        values = {name(key, path): inner(item, path) for key, item in value.items()}
        rule(least <= len(values) <= most, path)
        return values
    return read


def count(bits):
    """How many there are of something that is there."""
    def read(value, path):
        number = u(bits)(value, path)
        rule(value > 0, path)
        return number
    return read


def dim(value, path):
    return t(64)(value, path) if type(value) is str else u(32)(value, path)


def tolerance(value, path):
    need(type(value) is list and value and type(value[0]) is int and value[0] < 5)
    kind = ("exact", "max-abs-rel", "cosine", "top-k", "perceptual-hash")[value[0]]
    fields = {"exact": {}, "max-abs-rel": {"abs_nano": 64, "rel_ppm": 64}, "cosine": {"min_ppm": 64},
              "top-k": {"k": 32, "min_ppm": 64}, "perceptual-hash": {"max_bits": 32}}[kind]
    need(len(value) == 1 + len(fields))
    numbers = {name: u(bits)(number, path)
               for (name, bits), number in zip(fields.items(), value[1:])}
    rule(int(numbers.get("min_ppm", 0)) <= 1_000_000, path + ["min_ppm"])
    rule(numbers.get("k") != 0, path + ["k"])
    rule(numbers.get("max_bits", 0) <= 64, path + ["max_bits"])
    return {kind: numbers} if numbers else kind


class Record:
    """A map whose keys are 0, 1, 2 and so on in the order of the fields."""

    def __init__(self, check=lambda values: None, **fields):
        self.check, self.fields = check, fields

    def __call__(self, value, path):
        need(type(value) is Map)
        values = {}
        for key, (name, kind) in enumerate(self.fields.items()):
            absent = type(kind) is tuple and key not in value
            need(key in value or absent)
            kind = kind[1] if type(kind) is tuple else kind
            values[name] = None if absent else kind(value[key], path + [name])
        broken = self.check(values)
        rule(broken is None, path + [broken or ""])
        # Encoding what was read would give another head than the one at this place.
        if set(value) - set(range(len(self.fields))):
            raise Refused("not-reproduced", at=value.at)
        return values


def optional(kind):
    return (optional, kind)


# --- The documents. Fields are in the order of their keys.

FILE = Record(hash=h, len=u(64))
DTYPE = choice("fp16", "fp32", "fp64", "bf16", "u8", "i32", "i64")
TENSORS = array(Record(name=t(256, 1), dtype=DTYPE, dims=array(dim, 8)), 1024,
                lambda list: len({tensor["name"] for tensor in list}) == len(list))
REFS = array(Record(name=t(1024, control=True), hash=h), 1024)
CALL = Record(op=choice("load", "load-by-name", "init-context", "compute"),
              name=optional(t(1024, control=True)), manifest=optional(h), context=optional(u(32)),
              chain=optional(h), inputs=REFS, outputs=REFS, nn_units=u(64),
              environment=optional(u(32)), error=optional(u(8)))


def ascending(values):
    return all(a.encode() < b.encode() for a, b in zip(values, values[1:]))


def environments_exist(transcript):
    count = len(transcript["environments"])
    if any((call["environment"] or 0) >= count and call["environment"] is not None
           for call in transcript["calls"]):
        return "calls.environment"


def providers(environment):
    """Where nodes fell back, all providers that ran are listed: the requested one first if it ran."""
    requested, fallback = environment["requested"], environment["fallback"]
    if requested is None and fallback is None:
        return None
    if requested is None or fallback is None:
        return "requested" if fallback is None else "fallback"
    if "+" in requested or "/" in requested:
        return "requested"
    others = set()
    for key in fallback:
        provider, _, operator = key.partition("/")
        if not provider or not operator or "+" in provider or provider == requested:
            return "fallback"
        others.add(provider)
    others = sorted(others, key=str.encode)
    if environment["execution_provider"] not in ("+".join([requested] + others), "+".join(others)):
        return "execution_provider"


def device_report(report):
    if report["reference"] is None and report["repeatability"] is None:
        return "reference"


def reference(check):
    if check["cases"] == 0:
        return "cases"
    for name in ("accepted", "exact"):
        if check[name] > check["cases"]:
            return name
    # The same bytes do not differ. That they are accepted does not follow: a perceptual hash may
    # not be able to measure them.
    for name in ("max_abs_nano", "max_rel_ppm"):
        if check["exact"] == check["cases"] and int(check[name]) > 0:
            return name


def repeatability(found):
    for name in ("runs", "processes"):
        if found[name] == 0:
            return name
    threads = found["threads"]
    if any(a >= b for a, b in zip(threads, threads[1:])):
        return "threads"
    if found["repeatable"] and found["runs"] == found["processes"] == 1:
        return "repeatable"
    if found["across_threads"] and not (found["repeatable"] and len(threads) >= 2):
        return "across_threads"


# Of each kind: its fields, the longest document, the most items of a list, the longest text, and
# the longest byte string if that is not a signature.
DOCUMENTS = {
    "engine-documents": (Record(
        runtime=t(64, 1), wasmtime=t(64, 1), wasm_features=array(t(64, 1), 256, ascending),
        operator_cost=table(t(64, 1), u(64), 4096), limits=table(t(64, 1), u(64), 256),
        rules=table(t(64, 1), t(1024), 256)), 256 << 10, 4096, 1024),
    "exec-specs": (Record(
        engine=h, world=choice("task", "command"), component=h, input=h, args=args,
        clock_start_ns=u(64), models=table(t(256, 1), h, 256), seed=b(32),
        limits=Record(**{name: u(64) for name in (
            "fuel", "memory_bytes", "table_elements", "output_bytes", "emit_bytes", "stderr_bytes",
            "tensor_bytes_held", "tensor_bytes_moved", "model_bytes", "handles")})),
        1 << 20, 4096, 64 << 10),
    "task-specs": (Record(
        genesis=h, coordinator=b(32), exec=h, salt=b(32), price=amount, attempt_fee=amount,
        deadline_ms=u(64),
        requirements=Record(device=choice("any", "cpu", "gpu"), device_memory_bytes=u(64),
                            environments=array(h, 256)),
        verification=Record(lambda v: None if 1 <= v["quorum"] <= v["replicas"] else "quorum",
                            replicas=u(8), quorum=u(8), adaptive=flag, tolerance=flag),
        disclosure=choice("public", "checkers", "parties"), client_tag=b(32),
        submitter=optional(Record(account=b(32), nonce=u(64), signature=b(64)))),
        16 << 10, 4096, 1024),
    "model-manifests": (Record(
        encoding=choice("openvino", "onnx", "tensorflow", "pytorch", "tensorflowlite", "ggml",
                        "autodetect"),
        files=table(t(256, 1), FILE, 4096, 1), licence=t(256), inputs=TENSORS, outputs=TENSORS,
        cost=Record(base=u(64), per_input_element=u(64)), tolerance=tolerance,
        memory_bytes=u(64)), 1 << 20, 4096, 1024),
    "environment-documents": (Record(
        providers, engine=h, **{name: t(256) for name in (
            "triple", "cpu_baseline", "backend", "backend_version", "build", "execution_provider",
            "device", "driver", "precision")}, threads=u(32), requested=optional(t(64, 1)),
        options=optional(table(t(128, 1), t(256), 64, 1)),
        fallback=optional(table(t(128, 1), count(64), 256, 1))), 64 << 10, 4096, 1024),
    "transcripts": (Record(
        environments_exist, environments=array(h, 64), calls=array(CALL, 1_000_000)),
        256 << 20, 1_000_000, 1024),
    "receipt-openings": (Record(input=h, output=h, transcript=h), 256, 4096, 1024),
    "hardware-records": (Record(
        node=b(32), made_ms=u(64), software=t(64, 1), engine=h,
        cpu=Record(model=t(256), cores=count(32), baseline=t(256), memory_bytes=u(64),
                   memory_bandwidth=u(64), guest_fuel_rate=u(64)),
        devices=array(Record(
            environment=h, name=t(256, 1), kind=choice("cpu", "gpu"), memory_bytes=u(64),
            memory_bandwidth=u(64), fp32_rate=u(64), fp16_rate=optional(count(64)),
            models=table(t(128, 1), u(64), 256)), 64),
        network=optional(Record(peer=t(256, 1), rtt_us=u(64), down=u(64), up=u(64)))),
        64 << 10, 4096, 1024),
    "signed-hardware-records": (Record(
        record=blob, signature=b(64)), (64 << 10) + 128, 4096, 1024, 64 << 10),
    "device-reports": (Record(
        device_report, environment=h, model=h,
        reference=optional(Record(
            reference, environment=h, cases=u(32), accepted=u(32), exact=u(32),
            max_abs_nano=u(64), max_rel_ppm=u(64))),
        repeatability=optional(Record(
            repeatability, runs=u(32), processes=u(32), threads=array(u(32), 64),
            repeatable=flag, across_threads=flag))), 4 << 10, 4096, 1024),
}


def parsed(bounds, data):
    """The one item that the bytes are, within the bounds of a document as DOCUMENTS has them."""
    _, most, items_max, text_max, *bytes_max = bounds
    if len(data) > most:
        raise Refused("too-long", found=len(data), max=most)
    # The longest byte string is a signature, where nothing else is said.
    parser = Parser(data, items_max, text_max, *(bytes_max or [64]))
    value = parser.item()
    if parser.at != len(data):
        raise Refused("trailing", at=parser.at)
    return value


def decode_as(bounds, data):
    return bounds[0](parsed(bounds, data), [])


def decode(kind, data):
    """The document as JSON has it."""
    return decode_as(DOCUMENTS[kind], data)
