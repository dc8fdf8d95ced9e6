//! Cosignatures: the word of those who watch a log that a checkpoint continues all that they have
//! seen of it (C2SP `tlog-cosignature` and `tlog-mirror`).
//!
//! A cosigner signs two lines of its own and its name before the whole text of the checkpoint, by
//! sr25519 under [`CONTEXT`] and with a key that signs nothing else. The signature has the time in
//! front, as a u64 in big-endian order.
//!
//! ```text
//! cosignature/v1                    or mirror/v1
//! time 1679315147
//! cosigner witness.example/w1
//! (the text of the checkpoint)
//! ```

use thiserror::Error;

use super::checkpoint::{CONTEXT, SignedCheckpoint, VerifyError, wrong_kind};
use super::key::{KeyKind, KeyName, NoteKey};
use super::note::NoteSignature;
use crate::keys::Keypair;
use crate::rand_core::{CryptoRng, RngCore};

/// The latest time of a cosignature, in seconds since 1970 (`tlog-cosignature`).
pub const TIME_MAX: u64 = i64::MAX as u64;

/// A cosignature that has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// When the cosigner saw the checkpoint, by its own clock, in seconds since 1970.
    pub time_s: u64,
}

/// Why a checkpoint was not cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CosignError {
    /// The kind is the log's own.
    #[error("a log does not cosign; hint: the key is a witness's or a mirror's")]
    Kind,
    /// The time is later than [`TIME_MAX`].
    #[error("{time_s} is no time in seconds; hint: was it given in a smaller unit?")]
    Time {
        /// The time.
        time_s: u64,
    },
}

impl SignedCheckpoint {
    /// The signature of a cosigner: a witness, or a mirror that holds the log's data up to this size.
    /// The caller has checked that this is so.
    ///
    /// # Errors
    /// [`CosignError`].
    pub fn cosign(
        &self,
        kind: KeyKind,
        name: &KeyName,
        key: &Keypair,
        time_s: u64,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<NoteSignature, CosignError> {
        if time_s > TIME_MAX {
            return Err(CosignError::Time { time_s });
        }
        let note_key = NoteKey::new(name.clone(), kind, key.public());
        let message = self.cosigned(&note_key, time_s).ok_or(CosignError::Kind)?;
        let signature = key.sign(CONTEXT, message.as_bytes(), rng);
        Ok(NoteSignature {
            name: name.clone(),
            id: note_key.id(),
            signature: [&time_s.to_be_bytes(), &signature[..]].concat(),
        })
    }

    /// The cosignature of a witness or mirror, the latest that fits if there are several.
    ///
    /// # Errors
    /// [`VerifyError`], but not [`VerifyError::Origin`].
    pub fn verify_cosignature(&self, cosigner: &NoteKey) -> Result<Cosignature, VerifyError> {
        if cosigner.kind() == KeyKind::Checkpoint {
            return Err(wrong_kind(cosigner));
        }
        let mut latest: Option<Cosignature> = None;
        let fits = |signature: &[u8]| {
            let (time, signature) = signature.split_first_chunk::<8>()?;
            let time_s = u64::from_be_bytes(*time);
            if time_s > TIME_MAX || latest.is_some_and(|latest| latest.time_s >= time_s) {
                return None;
            }
            let message = self.cosigned(cosigner, time_s)?;
            let signature = signature.try_into().ok()?;
            cosigner
                .key()
                .verify(CONTEXT, message.as_bytes(), signature)
                .ok()?;
            latest = Some(Cosignature { time_s });
            // The next may be later.
            None
        };
        let none = self.first::<Cosignature>(cosigner, fits);
        latest.map_or(none, Ok)
    }

    /// What a cosigner of this kind and name signs; `None` for the log's own kind.
    fn cosigned(&self, key: &NoteKey, time_s: u64) -> Option<String> {
        let header = match key.kind() {
            KeyKind::Checkpoint => return None,
            KeyKind::Cosignature => "cosignature/v1",
            KeyKind::Mirror => "mirror/v1",
        };
        let (name, text) = (key.name(), self.note().text());
        Some(format!("{header}\ntime {time_s}\ncosigner {name}\n{text}"))
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::super::checkpoint::Checkpoint;
    use super::*;
    use crate::hash::Hash;

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([1; 32])
    }

    fn log() -> Keypair {
        Keypair::from_seed([1; 32])
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "example.com/log".parse().unwrap(),
            size: 20_852_163,
            root: Hash::of(b"root"),
        }
    }

    fn log_key() -> NoteKey {
        NoteKey::new(checkpoint().origin, KeyKind::Checkpoint, log().public())
    }

    #[test]
    fn cosigners_sign_kind_name_and_time() {
        let mut signed = checkpoint().sign(&log(), &mut rng());
        let witness = Keypair::from_seed([3; 32]);
        let name: KeyName = "witness.example/w1".parse().unwrap();
        let key = |kind| NoteKey::new(name.clone(), kind, witness.public());
        let missing = VerifyError::Missing { name: name.clone() };
        for kind in [KeyKind::Cosignature, KeyKind::Mirror] {
            assert_eq!(signed.verify_cosignature(&key(kind)), Err(missing.clone()));
            let line = signed
                .cosign(kind, &name, &witness, 1_679_315_147, &mut rng())
                .unwrap();
            assert_eq!(line.signature.len(), 72);
            signed.add(line).unwrap();
            let time_s = 1_679_315_147;
            assert_eq!(
                signed.verify_cosignature(&key(kind)),
                Ok(Cosignature { time_s })
            );
        }
        // The log's own signature is still there, and the note still a note.
        assert_eq!(signed.verify(&log_key()), Ok(&checkpoint()));
        let again = SignedCheckpoint::parse(signed.to_string().as_bytes()).unwrap();
        assert_eq!(again, signed);

        // One kind is not taken for the other, nor one name, nor one time.
        let bad = |name: &KeyName| VerifyError::Signature { name: name.clone() };
        let as_other = |kind: KeyKind, name: &KeyName, change: fn(&mut Vec<u8>)| {
            let mut one = checkpoint().sign(&log(), &mut rng());
            let of_witness = key(KeyKind::Cosignature);
            let mut line = signed
                .note()
                .signatures()
                .iter()
                .find(|line| line.id == of_witness.id())
                .unwrap()
                .clone();
            let key = NoteKey::new(name.clone(), kind, witness.public());
            change(&mut line.signature);
            (line.name, line.id) = (name.clone(), key.id());
            one.add(line).unwrap();
            one.verify_cosignature(&key)
        };
        let unchanged = |_: &mut Vec<u8>| {};
        assert!(as_other(KeyKind::Cosignature, &name, unchanged).is_ok());
        assert_eq!(as_other(KeyKind::Mirror, &name, unchanged), Err(bad(&name)));
        let other: KeyName = "witness.example/w2".parse().unwrap();
        assert_eq!(
            as_other(KeyKind::Cosignature, &other, unchanged),
            Err(bad(&other))
        );
        for change in [
            |signature: &mut Vec<u8>| signature[7] ^= 1,
            |signature: &mut Vec<u8>| signature[0] |= 128,
            |signature: &mut Vec<u8>| signature.truncate(7),
            |signature: &mut Vec<u8>| signature.push(0),
        ] {
            assert_eq!(
                as_other(KeyKind::Cosignature, &name, change),
                Err(bad(&name))
            );
        }
    }

    #[test]
    fn the_latest_cosignature_counts() {
        let signed = checkpoint().sign(&log(), &mut rng());
        let witness = Keypair::from_seed([3; 32]);
        let name: KeyName = "w".parse().unwrap();
        let kind = KeyKind::Cosignature;
        let line = |time_s| {
            signed
                .cosign(kind, &name, &witness, time_s, &mut rng())
                .unwrap()
        };
        let mut later_altered = line(9);
        later_altered.signature[20] ^= 1;
        let lines = [line(5), line(7), line(6), later_altered];
        let note = format!("{signed}{}", lines.map(|line| line.to_string()).concat());
        let parsed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
        let key = NoteKey::new(name.clone(), kind, witness.public());
        assert_eq!(
            parsed.verify_cosignature(&key),
            Ok(Cosignature { time_s: 7 })
        );
    }

    #[test]
    fn what_is_not_cosigned() {
        let signed = checkpoint().sign(&log(), &mut rng());
        let name: KeyName = "w".parse().unwrap();
        let cosign = |kind, time_s| signed.cosign(kind, &name, &log(), time_s, &mut rng());
        assert_eq!(cosign(KeyKind::Checkpoint, 1), Err(CosignError::Kind));
        let time_s = TIME_MAX + 1;
        assert_eq!(
            cosign(KeyKind::Mirror, time_s),
            Err(CosignError::Time { time_s })
        );
        assert!(cosign(KeyKind::Mirror, TIME_MAX).is_ok());
        let found = KeyKind::Checkpoint;
        let key = NoteKey::new(name.clone(), found, log().public());
        assert_eq!(
            signed.verify_cosignature(&key),
            Err(VerifyError::Kind { name, found })
        );
    }
}
