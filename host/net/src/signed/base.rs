//! The signature base: the text that is signed (RFC 9421, 2.5).

use adit_protocol::keys::PublicKey;
use http::Method;
use http::uri::{PathAndQuery, Scheme};

use super::{ALG, TAG};

/// The covered components of a request whose body is signed, as they stand in the header.
pub(super) const WITH_BODY: &str = r#"("@method" "@authority" "@path" "@query" "content-digest")"#;

/// The covered components of a request whose body is not signed.
pub(super) const WITHOUT_BODY: &str = r#"("@method" "@authority" "@path" "@query")"#;

/// What a request is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The method.
    pub method: &'a Method,
    /// Host and port in the form of [`normal_authority`].
    pub authority: &'a str,
    /// The absolute path, as it goes over the wire.
    pub path: &'a str,
    /// What stands behind the `?`, if there is one.
    pub query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// The target of a method, an authority in normal form, and a path with its query.
    pub fn new(method: &'a Method, authority: &'a str, path: &'a PathAndQuery) -> Target<'a> {
        Target {
            method,
            authority,
            path: path.path(),
            query: path.query(),
        }
    }
}

/// An authority in lower case and without the default port of the scheme (RFC 9421, 2.2.3); `None`
/// if it has user information, which no request should.
pub fn normal_authority(authority: &str, scheme: &Scheme) -> Option<String> {
    if authority.contains('@') {
        return None;
    }
    let default_port = match scheme == &Scheme::HTTPS {
        true => ":443",
        false => ":80",
    };
    let authority = authority.to_ascii_lowercase();
    Some(match authority.strip_suffix(default_port) {
        // `::1:80` without brackets is no authority, so a colon before it cannot be in an address.
        Some(host) => host.to_owned(),
        None => authority,
    })
}

/// The signature's parameters, as they stand behind the label and in the last line of the base.
pub(super) fn parameters(with_body: bool, created_s: u64, nonce: &str, node: &PublicKey) -> String {
    let components = if with_body { WITH_BODY } else { WITHOUT_BODY };
    // `Debug` of a key is `0x` and its digits.
    format!(
        r#"{components};created={created_s};nonce="{nonce}";keyid="{node:?}";alg="{ALG}";tag="{TAG}""#
    )
}

/// The signature base. `content_digest` is the header's value, for a request that covers it.
pub fn signature_base(
    target: &Target<'_>,
    content_digest: Option<&str>,
    parameters: &str,
) -> String {
    let Target {
        method,
        authority,
        path,
        query,
    } = target;
    let query = query.unwrap_or_default();
    let mut base = format!(
        "\"@method\": {method}\n\"@authority\": {authority}\n\"@path\": {path}\n\"@query\": ?{query}\n"
    );
    if let Some(digest) = content_digest {
        base.push_str(&format!("\"content-digest\": {digest}\n"));
    }
    base.push_str(&format!("\"@signature-params\": {parameters}"));
    base
}

#[cfg(test)]
mod tests {
    use adit_protocol::keys::Keypair;

    use super::*;

    #[test]
    fn the_base_is_that_of_the_standard() {
        let node = Keypair::from_seed([1; 32]).public();
        let target = Target {
            method: &Method::POST,
            authority: "example.com",
            path: "/v1/x",
            query: None,
        };
        let parameters = parameters(true, 1_618_884_473, "abc", &node);
        let base = signature_base(&target, Some("sha-256=:AA==:"), &parameters);
        let expected = format!(
            "\"@method\": POST\n\
             \"@authority\": example.com\n\
             \"@path\": /v1/x\n\
             \"@query\": ?\n\
             \"content-digest\": sha-256=:AA==:\n\
             \"@signature-params\": (\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\")\
             ;created=1618884473;nonce=\"abc\";keyid=\"{node:?}\";alg=\"sr25519\";tag=\"adit-request\""
        );
        assert_eq!(base, expected);
    }

    #[test]
    fn authorities_have_one_form() {
        let https = |text| normal_authority(text, &Scheme::HTTPS);
        assert_eq!(https("Example.COM:443").as_deref(), Some("example.com"));
        assert_eq!(https("example.com:80").as_deref(), Some("example.com:80"));
        assert_eq!(https("[::1]:443").as_deref(), Some("[::1]"));
        assert_eq!(
            normal_authority("example.com:80", &Scheme::HTTP).as_deref(),
            Some("example.com")
        );
        assert_eq!(https("user@example.com"), None);
    }
}
