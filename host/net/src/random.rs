//! Randomness that is passed in, so that a seed reproduces a run.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_core::{CryptoRng, RngCore};

/// A generator that may make signatures.
pub trait Randomness: RngCore + CryptoRng + Send {}

impl<T: RngCore + CryptoRng + Send> Randomness for T {}

/// One generator for all parts of a node.
#[derive(Clone)]
pub struct SharedRng(Arc<Mutex<Box<dyn Randomness>>>);

impl SharedRng {
    /// Shares a generator.
    pub fn new(rng: impl Randomness + 'static) -> SharedRng {
        SharedRng(Arc::new(Mutex::new(Box::new(rng))))
    }

    /// The system's generator.
    pub fn system() -> SharedRng {
        SharedRng::new(rand_core::OsRng)
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn Randomness>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number below `total`, each as likely as the others; `None` if `total` is 0.
    pub fn below(&self, total: u128) -> Option<u128> {
        below(&mut **self.lock(), total)
    }
}

/// A number below `total`, each as likely as the others; `None` if `total` is 0.
pub fn below(rng: &mut dyn RngCore, total: u128) -> Option<u128> {
    let zeros = total.checked_sub(1)?.leading_zeros();
    loop {
        let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        // As many bits as the largest result has: on average less than two tries.
        let number = bits.checked_shr(zeros).unwrap_or(0);
        if number < total {
            return Some(number);
        }
    }
}

/// No randomness at all, for signatures that are to be the same each time. Their nonce follows from
/// the secret key and from all that is signed (as with Ed25519), and randomness that is mixed in
/// protects against faults of the machine only.
pub struct Nothing;

impl RngCore for Nothing {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill(0);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        dest.fill(0);
        Ok(())
    }
}

impl CryptoRng for Nothing {}

impl fmt::Debug for SharedRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedRng")
    }
}

impl RngCore for SharedRng {
    fn next_u32(&mut self) -> u32 {
        self.lock().next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.lock().next_u64()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.lock().fill_bytes(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.lock().try_fill_bytes(dest)
    }
}

impl CryptoRng for SharedRng {}
