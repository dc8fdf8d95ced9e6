//! Echo.
#[adit_sdk::task]
fn run(input: Vec<u8>) -> Vec<u8> { input }
