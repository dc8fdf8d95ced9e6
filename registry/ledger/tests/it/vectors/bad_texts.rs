//! Transactions that are none, with one failure each. The signature fits the text, wherever the
//! failure is not in the signature itself.

use adit_ledger::registration::Role;
use adit_ledger::transaction::TEXT_MAX;
use adit_ledger::{Action, Transaction};
use adit_protocol::{Amount, Hash};
use serde_json::{Value, json};

use super::transactions::{
    key, largest_publication, pair, publication, register, rng, transaction, transfer_name, yank,
};
use super::{accusing, bad_settling, bad_signatures, governing, late};

/// A file that must be refused.
pub struct Bad {
    pub name: String,
    pub bytes: Vec<u8>,
    /// `text` or `signature`.
    pub of: &'static str,
    pub error: &'static str,
    pub detail: Value,
    pub why: String,
}

/// What a wallet would make of any text.
pub fn signed(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let message = [b"<Bytes>", text, b"</Bytes>"].concat();
    let signature = pair("//Alice").sign(b"substrate", &message, &mut rng());
    [&signature, text].concat()
}

pub fn stake() -> Transaction {
    transaction(Action::Stake {
        amount: Amount::tokens(20_000),
    })
}

fn registration(role: Role) -> Action {
    Action::Register {
        registration: register(role),
        bond: Amount::tokens(20_000),
    }
}

/// A text, and the failures that are made of it: name, what is replaced in it by what, the error, the
/// field in it, and why.
pub type Change = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const OF_STAKE: &[Change] = &[
    ("version-2", "version 1", "version 2", "line", "", "the title is of another version"),
    ("title-in-lower-case", "Adit", "adit", "line", "", "the title is written otherwise"),
    ("title-indented", "Adit", " Adit", "line", "", "a space stands before the title"),
    ("empty-line-first", "Adit", "\nAdit", "line", "", "an empty line stands before the title"),
    ("byte-order-mark", "Adit", "\u{feff}Adit", "line", "", "a byte order mark stands before the title"),
    ("line-ends-with-carriage-returns", "\n", "\r\n", "line", "", "lines end with a line feed alone"),
    ("no-fee", "fee: 0.01\n", "", "missing", "fee", "the fee is left out"),
    ("no-account", "account: 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY\n", "", "missing", "account", "the account is left out"),
    ("fee-before-number", "number: 7\nfee: 0.01", "fee: 0.01\nnumber: 7", "missing", "number", "two fields are exchanged"),
    ("added-field-in-between", "fee: 0.01\n", "fee: 0.01\ntip: 1\n", "missing", "expires", "a field is added in the middle"),
    ("empty-line-in-between", "fee: 0.01\n", "fee: 0.01\n\n", "missing", "expires", "an empty line is added in the middle"),
    ("number-twice", "number: 7\n", "number: 7\nnumber: 7\n", "missing", "fee", "a field stands there twice"),
    ("no-space-after-colon", "fee: ", "fee:", "missing", "fee", "a colon is followed by no space"),
    ("space-before-colon", "fee: ", "fee : ", "missing", "fee", "a space stands before a colon"),
    ("name-in-upper-case", "fee: ", "Fee: ", "missing", "fee", "the name of a field is in upper case"),
    ("no-action", "action: stake\n", "", "missing", "action", "no action is named"),
    ("no-amount", "\namount: 20000", "", "missing", "amount", "the last field is left out"),
    ("action-of-fewer-fields", "action: stake", "action: deregister", "missing", "node", "the fields are those of another action"),
    ("two-spaces-after-colon", "fee: ", "fee:  ", "value", "fee", "a value begins with a space"),
    ("space-at-end-of-line", "fee: 0.01\n", "fee: 0.01 \n", "value", "fee", "a value ends with a space"),
    ("genesis-without-prefix", "blake3:", "", "value", "genesis", "a hash is written without its prefix"),
    ("genesis-in-upper-case", "blake3:", "BLAKE3:", "value", "genesis", "a hash is written in upper case"),
    ("address-of-polkadot", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY", "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5", "value", "account", "the address of the same key has the prefix 0, not 42"),
    ("address-with-wrong-checksum", "KutQY", "KutQZ", "value", "account", "an address was mistyped"),
    ("address-in-hexadecimal", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY", "0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d", "value", "account", "a key is written as digits in place of an address"),
    ("number-negative", "number: 7", "number: -7", "value", "number", "a number has a sign"),
    ("number-of-65-bits", "number: 7", "number: 18446744073709551616", "value", "number", "a number needs 65 bits"),
    ("number-empty", "number: 7", "number: ", "value", "number", "a number has no digits"),
    ("number-in-hexadecimal", "number: 7", "number: 0x7", "value", "number", "a number is not decimal"),
    ("number-in-other-digits", "number: 7", "number: ٧", "value", "number", "a digit is that of another script"),
    ("fee-with-comma", "0.01", "0,01", "value", "fee", "an amount has a comma for its point"),
    ("fee-with-exponent", "0.01", "1e-2", "value", "fee", "an amount has an exponent"),
    ("fee-without-whole-part", "0.01", ".01", "value", "fee", "an amount begins with its point"),
    ("fee-with-13-digits", "0.01", "0.0100000000001", "value", "fee", "an amount has a part of a unit"),
    ("fee-with-sign", "0.01", "+0.01", "value", "fee", "an amount has a sign"),
    ("amount-with-unit", "20000", "20000 ADIT", "value", "amount", "an amount has the name of a currency"),
    ("amount-with-separators", "20000", "20_000", "value", "amount", "the digits of an amount are in groups"),
    ("amount-of-129-bits", "20000", "340282366920938463463374607.431768211456", "value", "amount", "an amount of units needs 129 bits"),
    ("expires-on-a-day", "T06:00:00Z", "", "value", "expires", "a moment has no time"),
    ("expires-without-zone", "00Z", "00", "value", "expires", "a moment has no zone"),
    ("expires-in-another-zone", "00Z", "00+00:00", "not-canonical", "", "UTC is written as Z alone"),
    ("expires-an-hour-east", "00Z", "00+01:00", "value", "expires", "a moment is in UTC"),
    ("expires-with-space", "27T06", "27 06", "value", "expires", "a moment has a space between day and time"),
    ("expires-in-the-13th-month", "2026-11", "2026-13", "value", "expires", "there is no such month"),
    ("expires-on-a-day-that-is-none", "2026-11-27", "2026-02-29", "value", "expires", "there is no such day in that year"),
    ("expires-before-1970", "2026", "1969", "value", "expires", "moments count from 1970"),
    ("expires-as-number", "2026-11-27T06:00:00Z", "1795759200000", "value", "expires", "a moment is written as a number"),
    ("action-unknown", "action: stake", "action: burn", "value", "action", "there is no action of this name"),
    ("action-in-upper-case", "action: stake", "action: Stake", "value", "action", "there is no action of this name"),
    ("line-feed-at-end", "20000", "20000\n", "left", "", "the last line ends with a line feed"),
    ("carriage-return-at-end", "20000", "20000\r", "value", "amount", "the last line ends with a carriage return"),
    ("added-field-at-end", "20000", "20000\nmemo: hello", "left", "", "a field is added at the end"),
    ("amount-twice", "20000", "20000\namount: 20000", "left", "", "the last field stands there twice"),
    ("field-of-another-action", "20000", "20000\nfrom: 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY", "left", "", "the action has no such field"),
    ("number-with-leading-zero", "number: 7", "number: 07", "not-canonical", "", "a number has a needless digit"),
    ("number-with-plus", "number: 7", "number: +7", "not-canonical", "", "a number has a needless sign"),
    ("amount-with-leading-zero", "20000", "020000", "not-canonical", "", "an amount has a needless digit"),
    ("amount-with-point", "20000", "20000.0", "not-canonical", "", "an amount has a needless digit"),
    ("fee-with-zero-at-end", "0.01", "0.010", "not-canonical", "", "an amount has a needless digit"),
    ("expires-with-needless-digits", "00Z", "00.000Z", "not-canonical", "", "a moment has needless digits"),
    ("expires-with-one-digit", "00Z", "00.5Z", "not-canonical", "", "a moment has three digits or none after the point"),
    ("expires-with-part-of-a-millisecond", "00Z", "00.0001Z", "not-canonical", "", "a moment has a part of a millisecond"),
];

#[rustfmt::skip]
const OF_CHECKER: &[Change] = &[
    ("role-unknown", "role: checker", "role: witness", "value", "role", "there is no role of this name"),
    ("name-before-log-key", "log-key: 5F", "name: a\nlog-key: 5F", "missing", "bond", "two fields are exchanged, of which both can be left out"),
    ("bond-left-out", "bond: 20000\n", "", "missing", "bond", "the bond is left out"),
    ("name-with-space", "example/one", "example one", "value", "name", "a space would end the name in a signed note"),
    ("name-with-plus", "example/one", "example+one", "value", "name", "a plus would end the name in a verifier key"),
    ("name-empty", "witness.example/one", "", "value", "name", "a name is left out by leaving out its line"),
    ("commission-above-all", "12.5%", "100.0001%", "value", "commission", "a share is more than the whole"),
    ("commission-with-5-digits", "12.5%", "12.50001%", "value", "commission", "a share has a part of a millionth"),
    ("commission-without-percent", "12.5%", "0.125", "value", "commission", "a share is a percentage"),
    ("commission-with-zero-at-end", "12.5%", "12.50%", "not-canonical", "", "a share has a needless digit"),
    ("commission-with-leading-zero", "12.5%", "012.5%", "not-canonical", "", "a share has a needless digit"),
    ("url-with-path", "example:4430", "example:4430/", "value", "url", "an address ends with host and port"),
    ("url-with-user", "https://", "https://a@", "value", "url", "an address names no user"),
    ("url-in-upper-case", "https://node", "https://Node", "value", "url", "an address is in lower case"),
    ("url-of-another-scheme", "https://", "wss://", "value", "url", "an address is one of HTTP"),
    ("url-without-host", "https://node.example:4430", "https://", "value", "url", "an address has no host"),
    ("region-in-upper-case", "eu-central", "EU", "value", "region", "a word is in lower case"),
    ("region-empty", "eu-central", "", "value", "region", "a word is left out by leaving out its line"),
    ("introduction-before-region", "region: eu-central\nintroduction: A node: in the cellar.", "introduction: A node: in the cellar.\nregion: eu-central", "missing", "proof", "two fields are exchanged, of which both can be left out"),
    ("introduction-empty", "A node: in the cellar.", "", "value", "introduction", "a text is left out by leaving out its line"),
    ("introduction-begins-with-space", "A node: ", " A node: ", "value", "introduction", "a space at the beginning is not seen"),
    ("introduction-ends-with-space", "cellar.", "cellar. ", "value", "introduction", "a space at the end is not seen"),
    ("introduction-ends-with-unicode-space", "cellar.", "cellar.\u{3000}", "value", "introduction", "a space at the end is not seen, whichever it is"),
    ("introduction-with-tab", "in the", "in\tthe", "value", "introduction", "a control character can move what is seen"),
    ("introduction-with-c1-control", "in the", "in\u{9b}the", "value", "introduction", "a control character can move what is seen"),
    ("introduction-from-right-to-left", "in the", "in \u{202e}the", "value", "introduction", "what follows is shown backwards"),
    ("introduction-with-isolate", "in the", "in \u{2067}the", "value", "introduction", "what follows is shown backwards"),
    ("introduction-with-zero-width-space", "in the", "in\u{200b} the", "value", "introduction", "a character is not seen"),
    ("introduction-with-soft-hyphen", "in the", "in\u{ad} the", "value", "introduction", "a character is not seen"),
    ("introduction-with-line-separator", "in the", "in\u{2028}the", "value", "introduction", "what follows looks like a line of its own"),
    ("introduction-with-byte-order-mark", "in the", "in\u{feff} the", "value", "introduction", "a character is not seen"),
    ("introduction-with-hangul-filler", "in the", "in\u{3164}the", "value", "introduction", "a character is not seen"),
    ("introduction-with-tag", "in the", "in\u{e0041} the", "value", "introduction", "a character is not seen"),
    ("service-without-uptime", "proof: ", "service-class: cpu-8g-f5\nproof: ", "missing", "service-uptime", "of a service agreement only the class is there"),
    ("proof-without-prefix", "proof: 0x", "proof: ", "value", "proof", "a signature is written without its prefix"),
    ("proof-cut-off", "proof: 0x", "proof: 0x0", "value", "proof", "a signature has an odd number of digits"),
    ("proof-too-long", "proof: 0x", "proof: 0x00", "value", "proof", "a signature has 65 bytes"),
    ("proof-in-upper-case", "proof: 0x", "proof: 0X", "value", "proof", "a signature is written in upper case"),
];

#[rustfmt::skip]
const OF_PUBLISH: &[Change] = &[
    ("publish-without-version", "version: 1.2.3-rc.1\n", "", "missing", "version", "the version is left out"),
    ("component-name-in-upper-case", "acme/word-count\n", "Acme/word-count\n", "value", "name", "a name is in lower case"),
    ("component-name-of-three-parts", "acme/word-count\n", "acme/word/count\n", "value", "name", "a name has two parts at most"),
    ("component-name-with-empty-scope", "acme/word-count\n", "/word-count\n", "value", "name", "a scope has a character at least"),
    ("component-name-begins-with-hyphen", "acme/word-count\n", "acme/-count\n", "value", "name", "no part of a name begins with a hyphen"),
    ("component-name-with-underscore", "acme/word-count\n", "acme/word_count\n", "value", "name", "a name has letters, digits and hyphens"),
    ("component-name-with-letter-that-looks-like-another", "acme/word-count\n", "\u{430}cme/word-count\n", "value", "name", "a name is in ASCII"),
    ("component-version-of-two-numbers", "1.2.3-rc.1\ncomponent", "1.2\ncomponent", "value", "version", "a version has three numbers"),
    ("component-version-with-v", "1.2.3-rc.1\ncomponent", "v1.2.3\ncomponent", "value", "version", "a version begins with a number"),
    ("component-version-with-leading-zero", "1.2.3-rc.1\ncomponent", "1.02.3\ncomponent", "value", "version", "a number has a needless digit"),
    ("component-version-with-build", "1.2.3-rc.1\ncomponent", "1.2.3+5\ncomponent", "value", "version", "two versions that differ in their build would count as the same"),
    ("component-version-with-empty-part", "1.2.3-rc.1\ncomponent", "1.2.3-rc.\ncomponent", "value", "version", "a part of a pre-release has a character at least"),
    ("component-version-with-leading-zero-at-end", "1.2.3-rc.1\ncomponent", "1.2.3-rc.01\ncomponent", "value", "version", "a number of a pre-release has a needless digit"),
    ("component-version-of-65-bits", "1.2.3-rc.1\ncomponent", "18446744073709551616.0.0\ncomponent", "value", "version", "a number needs 65 bits"),
    ("component-version-of-65-bytes", "1.2.3-rc.1\ncomponent", "1.2.3-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\ncomponent", "value", "version", "a version has at most 64 bytes"),
    ("world-unknown", "adit:task/task", "wasi:http/proxy", "value", "world", "there is no such world"),
    ("world-with-version", "adit:task/task", "adit:task/task@0.1.0", "value", "world", "a world is named without its version"),
    ("model-without-hash", "model: Bert ", "model: Bert\nmodel: ", "value", "model", "a model has a name and a hash"),
    ("model-with-two-spaces", "model: Bert ", "model: Bert  ", "value", "model", "one space stands between name and hash"),
    ("models-out-of-order", "model: Bert ", "model: bert ", "value", "model", "models are ascending by the bytes of their names"),
    ("model-twice", "model: Bert ", "model: all-MiniLM-L6-v2 ", "value", "model", "two models have one name"),
    ("model-with-letter-beyond-ascii", "model: Bert ", "model: Bért ", "value", "model", "the name of a model is in ASCII"),
    ("model-after-description", "description: ", "description: a\nmodel: ", "left", "", "two fields are exchanged, of which both can be left out"),
    ("description-empty", "Zählt Wörter: alle.", "", "value", "description", "a text is left out by leaving out its line"),
    ("source-of-another-scheme", "oci://", "ftp://", "value", "source", "a source is a coordinator or an OCI artifact"),
    ("source-without-tag", "word-count:1.2.3-rc.1", "word-count", "value", "source", "an artifact has a tag or a digest"),
    ("source-with-path", "oci://ghcr.io/acme/word-count:1.2.3-rc.1", "https://node.example/blobs", "value", "source", "a coordinator's address ends with host and port"),
    ("source-with-user", "oci://", "oci://a@", "value", "source", "a source names no user"),
    ("source-repository-in-upper-case", "ghcr.io/acme/word-count:", "ghcr.io/Acme/word-count:", "value", "source", "a repository is in lower case"),
    ("source-repository-with-dots", "ghcr.io/acme/", "ghcr.io/../", "value", "source", "a part of a repository begins with a letter or digit"),
    ("source-with-short-digest", "word-count:1.2.3-rc.1", "word-count@sha256:00", "value", "source", "a digest has 64 digits"),
];

#[rustfmt::skip]
const OF_YANK: &[Change] = &[
    ("yanked-as-yes", "yanked: true", "yanked: yes", "value", "yanked", "true or false is written"),
    ("yanked-left-out", "\nyanked: true", "", "missing", "yanked", "whether it is yanked is left out"),
    ("yank-of-latest", "1.2.3-rc.1", "latest", "value", "version", "a version is named by its numbers"),
];

#[rustfmt::skip]
const OF_TRANSFER_NAME: &[Change] = &[
    ("transfer-name-below-a-scope", "name: acme", "name: acme/word-count", "value", "name", "a scope is handed over whole"),
];

pub fn made(changes: &[Change], text: &str) -> Vec<Bad> {
    let make = |(name, from, to, error, field, why): &Change| {
        let other = match *from {
            // Every line.
            "\n" => text.replace(from, to),
            _ => text.replacen(from, to, 1),
        };
        assert_ne!(other, text, "{name} changes nothing");
        let detail = match *error {
            // Where the text would go on in its one form: found by writing it, not by reading it.
            "not-canonical" => json!({ "at": first_difference(text, &other, from, to) }),
            "missing" | "value" => json!({ "name": field }),
            _ => Value::Null,
        };
        Bad {
            name: (*name).to_owned(),
            bytes: signed(other),
            of: "text",
            error,
            detail,
            why: (*why).to_owned(),
        }
    };
    changes.iter().map(make).collect()
}

/// The first byte at which a text differs from the one form of what it says. With a part of a second
/// that is not null, that form is not the text that was changed.
fn first_difference(text: &str, other: &str, from: &str, to: &str) -> usize {
    let canonical = match to {
        "00.5Z" => text.replacen(from, "00.500Z", 1),
        _ => text.to_owned(),
    };
    let pairs = canonical.bytes().zip(other.bytes());
    pairs.take_while(|(a, b)| a == b).count()
}

/// Texts that are not made by replacing something.
fn other_texts() -> Vec<Bad> {
    let text = stake().to_text();
    let checker = transaction(registration(Role::Checker)).to_text();
    let bad = |name: &str, bytes: Vec<u8>, error, detail, why: &str| Bad {
        name: name.to_owned(),
        bytes,
        of: "text",
        error,
        detail,
        why: why.to_owned(),
    };
    let most = format!("{text}\nmemo: {}", "a".repeat(TEXT_MAX - text.len() - 7));
    let long = format!("{most}a");
    let found = json!({ "found": TEXT_MAX + 1, "max": TEXT_MAX });
    let [beyond, longest] = [513, 1025].map(|length| {
        checker.replacen(
            "A node: in the cellar.",
            &format!("A{}", "a".repeat(length - 1)),
            1,
        )
    });
    let mut latin = text.clone().into_bytes();
    let at = latin.len() - 1;
    latin[at] = 0xe9;
    let mut zero_key = text.clone();
    let account = key("//Alice").to_string();
    // The address of 32 zeros, under which anyone could sign.
    zero_key = zero_key.replacen(
        &account,
        "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM",
        1,
    );
    let name = |name: &str| json!({ "name": name });
    let published = transaction(Action::Publish(publication())).to_text();
    let largest = transaction(Action::Publish(largest_publication())).to_text();
    let model = format!("model: a {}", Hash::of(b"one more"));
    vec![
        bad(
            "nothing",
            Vec::new(),
            "line",
            Value::Null,
            "there is no signature and no text",
        ),
        bad(
            "cut-off-in-signature",
            signed("")[..63].to_vec(),
            "line",
            Value::Null,
            "the signature is not whole",
        ),
        bad(
            "only-a-signature",
            signed(""),
            "line",
            Value::Null,
            "there is no text",
        ),
        bad(
            "one-byte-too-long",
            signed(long),
            "too-long",
            found,
            "a text has at most 49152 bytes",
        ),
        bad(
            "longest",
            signed(most),
            "left",
            Value::Null,
            "the length is allowed, but not the field at the end",
        ),
        bad(
            "introduction-of-513-bytes",
            signed(beyond),
            "value",
            name("introduction"),
            "an introduction has at most 512 bytes",
        ),
        bad(
            "introduction-of-1025-bytes",
            signed(longest),
            "value",
            name("introduction"),
            "a value has at most 1024 bytes, whatever it is",
        ),
        bad(
            "not-utf-8",
            signed(latin),
            "not-canonical",
            json!({ "at": at }),
            "the text is not UTF-8",
        ),
        bad(
            "address-of-zeros",
            signed(zero_key),
            "value",
            name("account"),
            "the address is that of the identity, under which anyone can sign",
        ),
        bad(
            "region-of-65-letters",
            signed(checker.replacen("eu-central", &"a".repeat(65), 1)),
            "value",
            name("region"),
            "a word has at most 64 letters",
        ),
        bad(
            "part-of-component-name-of-65-letters",
            signed(largest.replacen("name: ", "name: a", 1)),
            "value",
            name("name"),
            "a part of a name has at most 64 letters",
        ),
        bad(
            "model-of-65-letters",
            signed(largest.replacen("model: ", "model: 0", 1)),
            "value",
            name("model"),
            "the name of a model has at most 64 letters",
        ),
        bad(
            "models-of-33",
            signed(largest.replacen("description: ", &format!("{model}\ndescription: "), 1)),
            "value",
            name("model"),
            "a component has at most 32 models",
        ),
        bad(
            "source-tag-of-129-letters",
            signed(published.replacen(
                "word-count:1.2.3-rc.1",
                &format!("word-count:{}", "a".repeat(129)),
                1,
            )),
            "value",
            name("source"),
            "a tag has at most 128 letters",
        ),
    ]
}

pub fn all() -> Vec<Bad> {
    let mut list = made(OF_STAKE, &stake().to_text());
    list.extend(made(
        OF_CHECKER,
        &transaction(registration(Role::Checker)).to_text(),
    ));
    for (changes, action) in [
        (governing::OF_PROPOSAL, governing::proposal()),
        (accusing::OF_FORK, accusing::fork()),
        (accusing::OF_ACCUSATION, accusing::accusation()),
        (accusing::OF_VERDICT, accusing::verdict(2)),
        (late::OF_CLAIM, late::claim(40)),
        (
            late::OF_LONG_CLAIM,
            late::claim(adit_ledger::late::ASSIGNMENT_MAX),
        ),
        (late::OF_ANSWER, late::answer(40, 1)),
    ] {
        list.extend(made(changes, &transaction(action).to_text()));
    }
    let more = governing::too_many().map(|(name, line, action)| {
        let why = "there are more lines than there can be";
        (name, action, "value", json!({ "name": line }), why)
    });
    for (name, action, error, detail, why) in more.into_iter().chain(accusing::other_verdicts()) {
        list.push(Bad {
            name: name.to_owned(),
            bytes: signed(transaction(action).to_text()),
            of: "text",
            error,
            detail,
            why: why.to_owned(),
        });
    }
    list.extend(made(
        OF_PUBLISH,
        &transaction(Action::Publish(publication())).to_text(),
    ));
    list.extend(made(OF_YANK, &transaction(yank(true)).to_text()));
    list.extend(made(
        OF_TRANSFER_NAME,
        &transaction(transfer_name()).to_text(),
    ));
    list.extend(other_texts());
    list.extend(bad_settling::all());
    list.extend(bad_signatures::all());
    list
}
