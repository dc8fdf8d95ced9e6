//! Amounts of tokens: whole numbers of 10^-12 token (protocol.md, first paragraph).

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::cbor::fields;

/// Units of a token.
const TOKEN: u128 = 1_000_000_000_000;
/// Digits after the point that a unit has.
const DIGITS: usize = 12;

/// An amount in 10^-12 token. In CBOR it is an integer or a bignum, in JSON a decimal string of
/// units, and as text for people a decimal number of tokens without needless zeros, as `0.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);

    /// The most that can exist, 10^12 tokens: sums of a few such amounts never overflow.
    pub const SUPPLY_MAX: Amount = Amount(TOKEN * TOKEN);

    /// An amount of whole tokens.
    pub const fn tokens(tokens: u64) -> Amount {
        Amount(tokens as u128 * TOKEN)
    }

    /// An amount of units of 10^-12 token.
    pub const fn from_units(units: u128) -> Amount {
        Amount(units)
    }

    /// The units of 10^-12 token.
    pub const fn units(self) -> u128 {
        self.0
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum; `None` if it has more than 128 bits.
    pub fn plus(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }

    /// The difference; `None` if it is less than nothing.
    pub fn minus(self, other: Amount) -> Option<Amount> {
        self.0.checked_sub(other.0).map(Amount)
    }
}

/// The largest amount there is instead of an overflow: for totals of what is known to be bounded.
impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        Amount(amounts.fold(0, |sum, amount| sum.saturating_add(amount.0)))
    }
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AmountError {
    /// It is no decimal number, or has more digits after the point than there are.
    #[error(
        "write an amount of tokens as 20000 or 0.5, with at most 12 digits after the point; hint: no sign, no exponent, no comma"
    )]
    Form,
    /// More than 128 bits of units.
    #[error("the amount is too large; hint: amounts are in tokens, not in parts of one")]
    TooLarge,
}

/// Tokens as a decimal number. Zeros at either end are taken, so [`fmt::Display`] may write a text
/// in another form than the one that was read.
impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Amount, AmountError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > DIGITS {
            return Err(AmountError::Form);
        }
        let whole: u128 = whole.parse().map_err(|_| AmountError::TooLarge)?;
        let part: u128 = format!("{part:0<DIGITS$}")
            .parse()
            .map_err(|_| AmountError::Form)?;
        whole
            .checked_mul(TOKEN)
            .and_then(|units| units.checked_add(part))
            .map(Amount)
            .ok_or(AmountError::TooLarge)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / TOKEN, self.0 % TOKEN);
        match part {
            0 => f.pad(&whole.to_string()),
            _ => f.pad(format!("{whole}.{part:012}").trim_end_matches('0')),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::json::decimal(&self.0, serializer)
    }
}

impl<C> Encode<C> for Amount {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        fields::amount::encode(&self.0, e, context)
    }
}

impl<'b, C> Decode<'b, C> for Amount {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Amount, minicbor::decode::Error> {
        fields::amount::decode(d, context).map(Amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_tokens() {
        for (text, units) in [
            ("0", 0),
            ("20000", 20_000 * TOKEN),
            ("0.5", TOKEN / 2),
            ("1.000000000001", TOKEN + 1),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount.units(), units, "{text}");
            assert_eq!(amount.to_string(), text);
        }
        assert_eq!("007.50".parse::<Amount>().unwrap().to_string(), "7.5");
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "1e3",
            "0.0000000000001",
            "1.2.3",
            "+1",
            " 1",
        ] {
            assert_eq!(bad.parse::<Amount>(), Err(AmountError::Form), "{bad}");
        }
        let large = u128::MAX.to_string();
        assert_eq!(large.parse::<Amount>(), Err(AmountError::TooLarge));
        assert_eq!(format!("{:>6}|", Amount::tokens(12)), "    12|");
    }

    #[test]
    fn sums_do_not_wrap() {
        let (one, most) = (Amount::from_units(1), Amount::from_units(u128::MAX));
        assert_eq!(most.plus(one), None);
        assert_eq!(Amount::ZERO.minus(one), None);
        assert_eq!([most, one].into_iter().sum::<Amount>(), most);
        assert!(Amount::SUPPLY_MAX.units() < u128::MAX >> 40);
    }
}
