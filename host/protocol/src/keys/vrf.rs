//! The verifiable random function of an sr25519 key: a number that only the key's holder can
//! compute, that is fixed by key and input, and that anyone can check.
//!
//! Only schnorrkel's non-malleable variant is used: its output is bound to the public key.

use merlin::Transcript;
use schnorrkel::context::attach_rng;
use schnorrkel::signing_context;
use schnorrkel::vrf::{VRFPreOut, VRFProof};

use super::{BadSignature, Keypair, PublicKey};
use crate::hash::Hash;
use crate::rand_core::{CryptoRng, RngCore};

/// Label under which the 32 bytes are drawn from the function's point.
const OUTPUT: &[u8] = b"adit-vrf-output-v1";
/// Label of schnorrkel's own `vrf_sign`, so that stock tools can check the proofs.
const PROOF: &[u8] = b"VRF";

/// What the holder of a key publishes: the function's point, and the proof that it is the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VrfSignature {
    /// The point, 32 bytes; [`PublicKey::vrf_verify`] turns it into the output.
    pub point: [u8; 32],
    /// The proof, 64 bytes.
    pub proof: [u8; 64],
}

impl Keypair {
    /// Computes the function at `input` under a context: the output and what proves it. The output
    /// depends on key, context and input alone; `rng` goes into the proof.
    pub fn vrf_sign(
        &self,
        context: &[u8],
        input: &[u8],
        rng: &mut (impl CryptoRng + RngCore),
    ) -> (Hash, VrfSignature) {
        let extra = attach_rng(Transcript::new(PROOF), rng);
        let (point, proof, _) = self
            .0
            .vrf_sign_extra(signing_context(context).bytes(input), extra);
        let signature = VrfSignature {
            point: point.to_preout().to_bytes(),
            proof: proof.to_bytes(),
        };
        (Hash::from_bytes(point.make_bytes(OUTPUT)), signature)
    }
}

impl PublicKey {
    /// The output of the function at `input`, if the proof holds.
    ///
    /// # Errors
    /// [`BadSignature`], whatever the reason.
    pub fn vrf_verify(
        &self,
        context: &[u8],
        input: &[u8],
        signature: &VrfSignature,
    ) -> Result<Hash, BadSignature> {
        let point = VRFPreOut::from_bytes(&signature.point).map_err(|_| BadSignature)?;
        let proof = VRFProof::from_bytes(&signature.proof).map_err(|_| BadSignature)?;
        let transcript = signing_context(context).bytes(input);
        let (point, _) = self
            .0
            .vrf_verify_extra(transcript, &point, &proof, Transcript::new(PROOF))
            .map_err(|_| BadSignature)?;
        Ok(Hash::from_bytes(point.make_bytes(OUTPUT)))
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn the_output_is_fixed_and_only_its_own_proof_holds() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let key = Keypair::from_seed([1; 32]);
        let (output, signature) = key.vrf_sign(b"c", b"input", &mut rng);
        let (again, other_proof) = key.vrf_sign(b"c", b"input", &mut rng);
        assert_eq!(output, again);
        assert_ne!(signature.proof, other_proof.proof);

        let public = key.public();
        assert_eq!(public.vrf_verify(b"c", b"input", &signature), Ok(output));
        assert_eq!(public.vrf_verify(b"c", b"input", &other_proof), Ok(output));
        assert!(public.vrf_verify(b"c", b"other", &signature).is_err());
        assert!(public.vrf_verify(b"d", b"input", &signature).is_err());
        let stranger = Keypair::from_seed([2; 32]);
        let theirs = stranger.public();
        assert!(theirs.vrf_verify(b"c", b"input", &signature).is_err());
        assert_ne!(stranger.vrf_sign(b"c", b"input", &mut rng).0, output);
        for at in 0..96 {
            let mut bad = signature;
            match at {
                0..32 => bad.point[at] ^= 1,
                _ => bad.proof[at - 32] ^= 1,
            }
            assert!(public.vrf_verify(b"c", b"input", &bad).is_err(), "{at}");
        }
    }

    #[test]
    fn stock_programs_check_it() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let key = Keypair::from_seed([1; 32]);
        let (_, signature) = key.vrf_sign(b"c", b"input", &mut rng);
        let point = VRFPreOut::from_bytes(&signature.point).unwrap();
        let proof = VRFProof::from_bytes(&signature.proof).unwrap();
        let transcript = signing_context(b"c").bytes(b"input");
        assert!(
            key.public()
                .0
                .vrf_verify(transcript, &point, &proof)
                .is_ok()
        );
    }
}
