//! `wasi:random`: one stream of bytes that the seed determines.
//!
//! All of WASI's random functions draw from this stream in the order of their calls. That
//! includes `insecure-seed`, from which standard libraries seed their hash maps.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::interface;
use crate::state::{State, charge};
use crate::stop::Stop;

/// The BLAKE3 key-derivation context of guest randomness, fixed by the protocol.
pub const RANDOM_CONTEXT: &str = "adit random v1";
/// Most random bytes in one call.
pub const RANDOM_BYTES_PER_CALL: u64 = 1 << 20;

/// The random stream of a run: the extended output of BLAKE3 derive_key over the seed.
pub struct RandomStream(blake3::OutputReader);

impl RandomStream {
    /// The stream of `seed`, at its start.
    pub fn new(seed: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(RANDOM_CONTEXT);
        hasher.update(seed);
        Self(hasher.finalize_xof())
    }

    /// The next bytes.
    pub fn fill(&mut self, buf: &mut [u8]) {
        self.0.fill(buf);
    }

    /// The next 8 bytes, as a little-endian integer.
    pub fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Store<'a> = StoreContextMut<'a, State>;

    fn bytes(mut s: Store<'_>, (len,): (u64,)) -> wasmtime::Result<(Vec<u8>,)> {
        charge(&mut s, len)?;
        if len > RANDOM_BYTES_PER_CALL {
            return Err(Stop::Limit {
                limit: "random bytes per call",
                max: RANDOM_BYTES_PER_CALL,
            }
            .into());
        }
        // At most a mebibyte, so it fits a usize everywhere.
        let mut buf = vec![0; len as usize];
        s.data_mut().random.fill(&mut buf);
        Ok((buf,))
    }
    fn number(mut s: Store<'_>, (): ()) -> wasmtime::Result<(u64,)> {
        charge(&mut s, 8)?;
        Ok((s.data_mut().random.next_u64(),))
    }

    let mut random = linker.instance(&interface("random/random"))?;
    random.func_wrap("get-random-bytes", bytes)?;
    random.func_wrap("get-random-u64", number)?;

    let mut insecure = linker.instance(&interface("random/insecure"))?;
    insecure.func_wrap("get-insecure-random-bytes", bytes)?;
    insecure.func_wrap("get-insecure-random-u64", number)?;

    let mut seed = linker.instance(&interface("random/insecure-seed"))?;
    seed.func_wrap("insecure-seed", |mut s: Store<'_>, (): ()| {
        charge(&mut s, 16)?;
        let random = &mut s.data_mut().random;
        Ok(((random.next_u64(), random.next_u64()),))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_the_seed_however_it_is_cut() {
        let mut whole = [0; 24];
        RandomStream::new(&[7; 32]).fill(&mut whole);
        let mut r = RandomStream::new(&[7; 32]);
        let mut first = [0; 5];
        r.fill(&mut first);
        let mut rest = [0; 19];
        r.fill(&mut rest);
        assert_eq!(whole[..5], first);
        assert_eq!(whole[5..], rest);
        let mut other = [0; 24];
        RandomStream::new(&[8; 32]).fill(&mut other);
        assert_ne!(whole, other);
    }
}
