//! How rows are written into the journal, where their types have no encoding of their own.

use adit_protocol::Code;
use adit_protocol::cbor::Document as _;
use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

use super::{AssignmentRow, DocumentKind, rows};

/// An encoding for `#[cbor(with = "...")]`, by a value that has one: there and back.
macro_rules! through {
    ($name:ident, $type:ty, $plain:ty, $there:expr, $back:expr) => {
        pub(super) mod $name {
            use super::*;

            pub(in super::super) fn encode<C, W: Write>(
                value: &$type,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), EncodeError<W::Error>> {
                let there: fn(&$type) -> $plain = $there;
                e.encode(there(value))?;
                Ok(())
            }

            pub(in super::super) fn decode<C>(
                d: &mut Decoder<'_>,
                _: &mut C,
            ) -> Result<$type, DecodeError> {
                let plain: $plain = d.decode()?;
                let back: fn($plain) -> Result<$type, String> = $back;
                back(plain).map_err(DecodeError::message)
            }
        }
    };
}

through!(
    trace,
    Option<adit_net::trace::TraceContext>,
    Option<String>,
    |trace| trace.map(|trace| trace.to_string()),
    |text| Ok(text
        .as_deref()
        .and_then(adit_net::trace::TraceContext::parse))
);
through!(
    lease,
    crate::view::LeaseState,
    i64,
    |state| rows::lease_number(*state),
    |number| rows::lease_state(number).map_err(|error| error.to_string())
);
through!(
    task_state,
    crate::view::TaskState,
    i64,
    |state| rows::task_number(*state),
    |number| rows::task_state(number).map_err(|error| error.to_string())
);
through!(
    decision,
    adit_protocol::network::entry::Decision,
    i64,
    |decision| *decision as i64,
    |number| rows::decision(number).map_err(|error| error.to_string())
);
through!(
    decided,
    Option<adit_protocol::network::entry::Decision>,
    Option<i64>,
    |decision| decision.map(|decision| decision as i64),
    |number| number
        .map(rows::decision)
        .transpose()
        .map_err(|error| error.to_string())
);
through!(
    kind,
    DocumentKind,
    i64,
    |kind| rows::document_number(*kind),
    |number| rows::document_kind(number).map_err(|error| error.to_string())
);
through!(
    record,
    adit_protocol::network::draw::Record,
    (u32, u32, u32),
    |record| (record.good, record.bad, record.streak),
    |(good, bad, streak)| Ok(adit_protocol::network::draw::Record { good, bad, streak })
);
through!(
    reason,
    Option<(Code, String)>,
    Option<(String, String)>,
    |reason| reason
        .as_ref()
        .map(|(code, detail)| (code.as_str().to_owned(), detail.clone())),
    |reason| reason
        .map(|(code, detail)| match code.parse() {
            Ok(code) => Ok((code, detail)),
            Err(_) => Err(format!("{code} is no code")),
        })
        .transpose()
);

pub(super) mod receipt {
    use adit_protocol::receipt::Receipt;

    use super::*;

    pub(in super::super) fn encode<C, W: Write>(
        receipt: &Receipt,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&receipt.to_bytes())?;
        Ok(())
    }

    pub(in super::super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Receipt, DecodeError> {
        Receipt::from_bytes(d.bytes()?).map_err(DecodeError::message)
    }
}

/// As it is when it is added: nothing has become of it yet.
impl<C> Encode<C> for AssignmentRow {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(6)?.u64(self.leaf)?.encode(self.hash)?;
        e.u64(self.task)?.bytes(&self.signed.to_cbor())?;
        e.bytes(&self.eligible)?;
        lease::encode(&self.state, e, c)
    }
}

impl<'b, C> Decode<'b, C> for AssignmentRow {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<AssignmentRow, DecodeError> {
        if d.array()? != Some(6) {
            return Err(DecodeError::message("an assignment has six fields"));
        }
        let (leaf, hash, task) = (d.u64()?, d.decode()?, d.u64()?);
        let signed = adit_protocol::signed::Signed::from_cbor(d.bytes()?);
        let signed = signed.map_err(DecodeError::message)?;
        Ok(AssignmentRow {
            leaf,
            hash,
            task,
            assignment: signed.unverified().map_err(DecodeError::message)?,
            signed,
            eligible: d.bytes()?.to_vec(),
            state: lease::decode(d, c)?,
            acceptance: None,
            receipt: None,
        })
    }
}
