"""sr25519 signatures under any signing context, and the verifiable random function of such keys.

The package that verify.py uses knows the context `substrate` only, and our messages other than
receipts have contexts of their own. So here is the whole check: Keccak-f[1600], the STROBE-128 and
Merlin transcripts on it, Ristretto255 (RFC 9496), and the equation of Schnorr. Nothing secret is
ever computed with, so nothing is done in constant time.
"""

# --- Keccak-f[1600] on 25 words of 64 bits; the constants are made as FIPS 202 defines them.

MASK = (1 << 64) - 1


def rotated(word, by):
    return (word << by | word >> 64 - by) & MASK if by else word


def round_constants():
    register, constants = 1, []
    for _ in range(24):
        constant = 0
        for j in range(7):
            constant |= (register & 1) << (1 << j) - 1
            register = register << 1 ^ (0x171 if register >> 7 else 0)
        constants.append(constant)
    return constants


ROUNDS = round_constants()


def keccak(state):
    a = [int.from_bytes(state[8 * i:8 * i + 8], "little") for i in range(25)]
    for constant in ROUNDS:
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[x - 1] ^ rotated(c[(x + 1) % 5], 1) for x in range(5)]
        a = [word ^ d[i % 5] for i, word in enumerate(a)]
        x, y, current = 1, 0, a[1]
        for t in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            at = x + 5 * y
            current, a[at] = a[at], rotated(current, (t + 1) * (t + 2) // 2 % 64)
        for row in range(0, 25, 5):
            b = a[row:row + 5]
            for x in range(5):
                a[row + x] = b[x] ^ (~b[(x + 1) % 5] & b[(x + 2) % 5])
        a[0] ^= constant
    state[:] = b"".join(word.to_bytes(8, "little") for word in a)


# --- Merlin: a transcript of labelled messages, from which a challenge is drawn (STROBE-128).

RATE = 166
DATA, META, DRAW = 2, 16 | 2, 1 | 2 | 4


class Transcript:
    def __init__(self, label):
        self.state = bytearray(200)
        self.state[:18] = bytes([1, RATE + 2, 1, 0, 1, 96]) + b"STROBEv1.0.2"
        keccak(self.state)
        self.at = self.begin = 0
        self.operation(META, b"Merlin v1.0")
        self.append(b"dom-sep", label)

    def permute(self):
        self.state[self.at] ^= self.begin
        self.state[self.at + 1] ^= 4
        self.state[RATE + 1] ^= 0x80
        keccak(self.state)
        self.at = self.begin = 0

    def absorb(self, data):
        for byte in data:
            self.state[self.at] ^= byte
            self.at += 1
            if self.at == RATE:
                self.permute()

    def operation(self, flags, data=b""):
        begin, self.begin = self.begin, self.at + 1
        self.absorb(bytes([begin, flags]))
        if flags & 4 and self.at:
            self.permute()
        self.absorb(data)

    def append(self, label, message):
        self.operation(META, label + len(message).to_bytes(4, "little"))
        self.operation(DATA, message)

    def of(self, *messages):
        for label, message in messages:
            self.append(label, message)
        return self

    def draw(self, label, count):
        """The last bytes; the permutation has just run, so they lie at the front."""
        self.operation(META, label + count.to_bytes(4, "little"))
        self.operation(DRAW)
        return bytes(self.state[:count])

    def challenge(self, label):
        return int.from_bytes(self.draw(label, 64), "little") % ORDER


# --- Ristretto255, in extended coordinates of the curve of Ed25519.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # The root of -1; RFC 9496 has the even one.


def even(number):
    number %= P
    return P - number if number % 2 else number


def inverse_root(u, v):
    """Whether u / v is a square, and the even root of it or of i u / v."""
    r = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    check = v * r * r % P
    if check in (-u % P, -u * ROOT % P):
        r = r * ROOT % P
    return check in (u % P, -u % P), even(r)


def decoded(raw):
    """The point of 32 bytes; `None` if they are the form of none."""
    s = int.from_bytes(raw, "little")
    if s >= P or s % 2:
        return None
    u1, u2 = (1 - s * s) % P, (1 + s * s) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    square, inverse = inverse_root(1, v * u2 * u2 % P)
    x = even(2 * s * inverse * u2)
    y = u1 * inverse * inverse * u2 * v % P
    t = x * y % P
    return None if not square or t % 2 or y == 0 else (x, y, 1, t)


def encoded(point):
    x, y, z, t = point
    u1, u2 = (z + y) * (z - y) % P, x * y % P
    _, inverse = inverse_root(1, u1 * u2 * u2 % P)
    d1, d2 = u1 * inverse % P, u2 * inverse % P
    z_inverse = d1 * d2 * t % P
    if t * z_inverse % P % 2:
        _, by = inverse_root(1, (-1 - D) % P)
        x, y, d2 = y * ROOT % P, x * ROOT % P, d1 * by % P
    if x * z_inverse % P % 2:
        y = -y % P
    return even(d2 * (z - y)).to_bytes(32, "little")


def added(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * D * p[3] * q[3], 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    product = (0, 1, 1, 0)
    for bit in bin(scalar)[2:]:
        product = added(product, product)
        if bit == "1":
            product = added(product, point)
    return product


BASE = decoded(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))


def verified(context, message, key, signature):
    """Whether the signature fits; the key must be the form of a point."""
    s = int.from_bytes(signature[32:], "little") ^ 1 << 255  # The highest bit marks sr25519.
    if s >= ORDER:
        return False
    transcript = Transcript(b"SigningContext").of(
        (b"", context), (b"sign-bytes", message), (b"proto-name", b"Schnorr-sig"),
        (b"sign:pk", key), (b"sign:R", signature[:32]))
    k = transcript.challenge(b"sign:c")
    # R = s B - k A, compared in the form that each point has only one of.
    return encoded(added(times(s, BASE), times(ORDER - k, decoded(key)))) == signature[:32]


# --- The verifiable random function: the point H(key, input) times the secret key, with a proof that
# its logarithm is the key's (schnorrkel's VRF, the variant whose output is bound to the key).

# The root of -D - 1 that RFC 9496 names is the odd one.
ROOT_AD = P - inverse_root(-D - 1, 1)[1]


def mapped(raw):
    """The point that 32 bytes are mapped to (RFC 9496, 4.3.4)."""
    t = int.from_bytes(raw, "little") % (1 << 255) % P
    r = ROOT * t * t % P
    u, v = (r + 1) * (1 - D * D) % P, (-1 - r * D) * (r + D) % P
    square, s = inverse_root(u, v)
    if not square:
        s = -even(s * t) % P
    n = ((-1 if square else r) * (r - 1) * (D - 1) ** 2 - v) % P
    w0, w1, w2, w3 = 2 * s * v % P, n * ROOT_AD % P, (1 - s * s) % P, (1 + s * s) % P
    return w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P


def random_output(context, message, key, point, proof, label):
    """The 32 bytes of the function at a message, or `None` if the proof does not hold."""
    output = decoded(point)
    if output is None or not any(point):  # Zeros are the identity.
        return None
    c, s = (int.from_bytes(half, "little") for half in (proof[:32], proof[32:]))
    if c >= ORDER or s >= ORDER:
        return None
    uniform = Transcript(b"SigningContext").of(
        (b"", context), (b"sign-bytes", message), (b"vrf-nm-pk", key)).draw(b"VRFHash", 64)
    at = added(mapped(uniform[:32]), mapped(uniform[32:]))
    place = encoded(at)
    # With s = r - c k of the secret k: r times the base, and r times the point of the message.
    by_base = encoded(added(times(c, decoded(key)), times(s, BASE)))
    by_place = encoded(added(times(c, output), times(s, at)))
    challenge = Transcript(b"VRF").of(
        (b"proto-name", b"DLEQProof"), (b"vrf:h", place), (b"vrf:R=g^r", by_base),
        (b"vrf:h^r", by_place), (b"vrf:pk", key), (b"vrf:h^sk", point)).challenge(b"prove")
    if challenge != c:
        return None
    return Transcript(b"VRFResult").of(
        (b"", label), (b"vrf-in", place), (b"vrf-out", point)).draw(b"", 32)
