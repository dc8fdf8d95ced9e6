//! Where a program gets chance from.

use std::collections::HashMap;

use super::Args;
use super::wasi::random;

/// The order of a hash map, which the standard library seeds at random.
pub fn random(_: &Args) {
    let mut map = HashMap::new();
    for i in 0..20 {
        map.insert(i, ());
    }
    println!("{:?}", map.keys().collect::<Vec<_>>());
}

/// Every source of chance that WASI has, in one stream.
pub fn kinds(_: &Args) {
    println!("bytes {:02x?}", random::random::get_random_bytes(11));
    println!("u64 {:016x}", random::random::get_random_u64());
    let insecure = random::insecure::get_insecure_random_bytes(5);
    println!("insecure bytes {insecure:02x?}");
    let insecure = random::insecure::get_insecure_random_u64();
    println!("insecure u64 {insecure:016x}");
    let (a, b) = random::insecure_seed::insecure_seed();
    println!("insecure seed {a:016x} {b:016x}");
    println!("none {:02x?}", random::random::get_random_bytes(0));
    // An address is chance, too, where memory is laid out at random.
    println!("address {:p}", Box::leak(Box::new(0u64)));
}
