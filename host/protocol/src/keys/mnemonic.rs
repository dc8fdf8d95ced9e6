//! Recovery phrases: 12 to 24 English words (BIP39) that stand for the entropy of a key.
//!
//! Substrate derives the key from the phrase's *entropy* by PBKDF2 and not, as Bitcoin does, from
//! the text of the words, so a phrase gives another key here than in a Bitcoin wallet.

use bip39::{Language, Mnemonic};
use schnorrkel::MiniSecretKey;
use thiserror::Error;
use zeroize::Zeroizing;

/// The longest phrase: 24 words of up to 8 letters, with generous spacing.
const MAX_PHRASE: usize = 512;

/// Why a text is not a recovery phrase.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MnemonicError {
    /// The number of words.
    #[error(
        "a phrase has 12, 15, 18, 21 or 24 words, this one has {0}; hint: was a word left out?"
    )]
    WordCount(usize),
    /// A word that is not on the list. The word itself is secret and not repeated here.
    #[error(
        "word {0} of the phrase is not on the BIP39 list of English words; hint: check its spelling"
    )]
    UnknownWord(usize),
    /// All words are on the list, but do not belong together.
    #[error(
        "the words are no valid phrase (the checksum does not fit); hint: check the words and their order"
    )]
    Checksum,
    /// The text is far longer than any phrase.
    #[error("the phrase is too long; hint: give the words alone, a space between two")]
    TooLong,
    /// Entropy of a length that no phrase has.
    #[error("a phrase stands for 16, 20, 24, 28 or 32 bytes, not for {0}; hint: 16 make 12 words")]
    EntropyLength(usize),
}

/// The phrase of 16, 20, 24, 28 or 32 bytes of entropy; 16 bytes make 12 words, 32 make 24.
///
/// # Errors
/// [`MnemonicError::EntropyLength`] for any other length.
pub fn from_entropy(entropy: &[u8]) -> Result<Zeroizing<String>, MnemonicError> {
    Mnemonic::from_entropy_in(Language::English, entropy)
        .map(|mnemonic| Zeroizing::new(mnemonic.words().collect::<Vec<_>>().join(" ")))
        .map_err(|_| MnemonicError::EntropyLength(entropy.len()))
}

/// The entropy of a phrase. Words may be apart by any white space.
///
/// # Errors
/// [`MnemonicError`] if it is none.
pub fn to_entropy(phrase: &str) -> Result<Zeroizing<Vec<u8>>, MnemonicError> {
    if phrase.len() > MAX_PHRASE {
        return Err(MnemonicError::TooLong);
    }
    Mnemonic::parse_in_normalized(Language::English, phrase)
        .map(|mnemonic| Zeroizing::new(mnemonic.to_entropy()))
        .map_err(|error| match error {
            bip39::Error::BadWordCount(count) => MnemonicError::WordCount(count),
            bip39::Error::UnknownWord(index) => MnemonicError::UnknownWord(index.saturating_add(1)),
            _ => MnemonicError::Checksum,
        })
}

/// The mini secret key of a phrase and a password, which is empty for none.
pub(super) fn mini_secret(phrase: &str, password: &str) -> Result<MiniSecretKey, MnemonicError> {
    let entropy = to_entropy(phrase)?;
    substrate_bip39::mini_secret_from_entropy(&entropy, password)
        .map_err(|_| MnemonicError::EntropyLength(entropy.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_round_trip() {
        for length in [16, 20, 24, 28, 32] {
            let entropy: Vec<u8> = (0..length).collect();
            let phrase = from_entropy(&entropy).unwrap();
            assert_eq!(phrase.split(' ').count(), usize::from(length) * 3 / 4);
            assert_eq!(*to_entropy(&phrase).unwrap(), entropy);
        }
        assert_eq!(
            from_entropy(&[0; 15]).unwrap_err(),
            MnemonicError::EntropyLength(15)
        );
        // The first vector of BIP39.
        let zeros = from_entropy(&[0; 16]).unwrap();
        assert_eq!(*zeros, "abandon ".repeat(11) + "about");
    }

    #[test]
    fn errors_say_which_word() {
        let phrase = "abandon ".repeat(11) + "about";
        assert_eq!(
            to_entropy("abandon about").unwrap_err(),
            MnemonicError::WordCount(2)
        );
        let unknown = phrase.replacen("abandon", "abandom", 1);
        assert_eq!(
            to_entropy(&unknown).unwrap_err(),
            MnemonicError::UnknownWord(1)
        );
        let checksum = "abandon ".repeat(12);
        assert_eq!(to_entropy(&checksum).unwrap_err(), MnemonicError::Checksum);
        assert_eq!(
            to_entropy(&phrase.repeat(9)).unwrap_err(),
            MnemonicError::TooLong
        );
        assert!(to_entropy(&phrase.replace(' ', "\n  ")).is_ok());
    }
}
