"""What schemathesis checks of a coordinator, or of a registry, beside what it can do by itself.

It is told by the environment:
    ADIT_CODES    path of a JSON object: each code of a problem, and the status that goes with it
    ADIT_INFO     path of the answer to /v1/info: bounds that a coordinator's operator sets
    ADIT_SEEN     path to write a JSON object to: operation -> status -> number of answers
    ADIT_REFUSED  if set, no request is authenticated, and each has to be refused where the
                  description asks for a token or a signature
"""

import atexit
import collections
import json
import os

import schemathesis


def told(name):
    with open(os.environ[name], encoding="utf-8") as file:
        return json.load(file)


CODES = told("ADIT_CODES")
SEEN = collections.defaultdict(collections.Counter)

# Any request may be answered so, whatever it asks for: it is too slow or too large, the method is
# another one, or the server is busy or about to stop.
ANYWHERE = {405, 408, 413, 431, 503, 507}

# An address has a checksum, and is a point of a curve; a component's name has a grammar.
ADDRESS = ("not an address", "typing error", "with prefix", "public key")
NAME = ("",)

# Rules that a schema cannot say, by the field or parameter that the refusal names.
RULES = {
    "GET /v1/accounts/{address}": ADDRESS,
    "GET /v1/accounts/{address}/proof": ADDRESS,
    "GET /v1/accounts/{address}/rewards": ADDRESS,
    "GET /v1/accounts/{address}/transactions": ADDRESS,
    "GET /v1/components": NAME,
    "GET /v1/components/{name}": NAME,
    "GET /v1/components/{name}/{version}": NAME,
    "GET /v1/nodes": ADDRESS,
    "GET /v1/nodes/{address}": ADDRESS,
    "GET /v1/nodes/{address}/rewards": ADDRESS,
    "GET /v1/scopes/{scope}": NAME,
    # Nothing that is made up is a text that an account has signed.
    "POST /v1/transactions": ("",),
    "POST /v1/tasks": (
        "`args`",
        "`input`",
        "`input.base64`",
        "`models`",
        "`region`",
        "`requirements.device_memory_bytes`",
        "`requirements.environments`",
        "`verification.quorum`",
        "`verification.tolerance`",
        "is not WebAssembly",
    ),
    "PUT /v1/blobs/{hash}": ("bytes that came are", "without the header `content-length`"),
    # A task that ended without one is no wrong request; the status is in the description.
    "GET /v1/tasks/{task}/result": ("the task has no result",),
}
# To a schema 1.0 is an integer. Here integers are written without a fraction.
INTEGERS = "invalid type: floating point"


@schemathesis.hook
def before_load_schema(ctx, raw_schema):
    """The description says that these bounds are in /v1/info."""
    schemas = raw_schema["components"]["schemas"]
    if "TaskRequest" not in schemas:
        return
    info = told("ADIT_INFO")
    schemas["TaskRequest"]["properties"]["deadline_ms"]["maximum"] = info["deadline_ms_max"]
    for name in ("replicas", "quorum"):
        schemas["VerificationWanted"]["properties"][name]["maximum"] = info["replicas_max"]


@schemathesis.hook
def filter_failure(ctx, failure, case, response):
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    detail = response.json().get("detail", "")
    rules = (INTEGERS, *RULES.get(case.operation.label, ()))
    return not any(rule in detail for rule in rules)


@schemathesis.serializer("application/cbor")
def cbor(ctx, value):
    """Documents of the protocol have no JSON schema: what comes passes for CBOR at first sight."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    text = json.dumps(value, default=str).encode("utf-8", "surrogatepass")
    return bytes([0x5A]) + len(text).to_bytes(4, "big") + text


@schemathesis.hook
def after_call(ctx, case, response):
    SEEN[case.operation.label][str(response.status_code)] += 1


@schemathesis.check
def a_failure_is_a_problem(ctx, response, case):
    """A refusal is a problem by RFC 9457 with a code that this release knows, and has its status."""
    status = response.status_code
    if status < 400 or case.method.upper() == "HEAD":
        return
    kind = response.headers.get("content-type", [""])[0]
    assert kind.split(";")[0] == "application/problem+json", f"a failure of the type {kind!r}"
    problem = response.json()
    assert problem.get("code") in CODES, f"the code {problem.get('code')!r} is unknown"
    assert problem["type"] == "urn:adit:problem:" + problem["code"], problem
    assert problem["status"] == status == CODES[problem["code"]], problem
    for name in ("title", "detail"):
        assert isinstance(problem[name], str) and problem[name], problem
    assert isinstance(problem["retryable"], bool), problem
    if "retry_after_s" in problem:
        assert response.headers["retry-after"] == [str(problem["retry_after_s"])], problem


@schemathesis.check
def the_status_is_described(ctx, response, case):
    """Not only by the answer that stands for all others."""
    status = response.status_code
    described = case.operation.definition.raw["responses"]
    assert status in ANYWHERE or str(status) in described, f"{status} is not described"


@schemathesis.check
def nothing_is_had_without_a_right_to_it(ctx, response, case):
    if "ADIT_REFUSED" not in os.environ:
        return
    asked = case.operation.definition.raw.get("security", [])
    if asked and {} not in asked:
        assert 400 <= response.status_code < 500, f"{response.status_code} without a token"


@atexit.register
def tell():
    with open(os.environ["ADIT_SEEN"], "w", encoding="utf-8") as file:
        json.dump(SEEN, file)
