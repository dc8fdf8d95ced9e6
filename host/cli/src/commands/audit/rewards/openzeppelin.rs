//! What accounts have earned, as the Merkle tree that claim contracts on EVM chains read: the
//! `standard-v1` dump of OpenZeppelin's `@openzeppelin/merkle-tree`, with leaves
//! (`bytes32` account, `uint256` total in 10^-12 token).
//!
//! A leaf is keccak256(keccak256(ABI encoding)). Leaves are sorted, and stand at the end of the tree's
//! array in reverse; the node before has at i the keccak256 of its sorted children at 2i + 1 and 2i + 2.

use adit_ledger::rewards::Earned;
use serde_json::{Value, json};
use sha3::{Digest as _, Keccak256};

use crate::text::hex;

/// The dump; `None` where nobody has earned anything, of which there is no tree.
pub fn dump(earned: &[Earned]) -> Option<Value> {
    let mut leaves: Vec<([u8; 32], &Earned)> = earned.iter().map(|one| (leaf(one), one)).collect();
    leaves.sort_by_key(|(hash, _)| *hash);
    let nodes = leaves.len().checked_mul(2)?.checked_sub(1)?;
    let mut tree = vec![[0; 32]; nodes];
    for ((hash, _), place) in leaves.iter().zip(tree.iter_mut().rev()) {
        *place = *hash;
    }
    for at in (0..nodes - leaves.len()).rev() {
        let children = (tree.get(2 * at + 1).copied()).zip(tree.get(2 * at + 2).copied());
        if let (Some((left, right)), Some(place)) = (children, tree.get_mut(at)) {
            *place = keccak(&[left.min(right), left.max(right)].concat());
        }
    }
    let values = leaves.iter().enumerate().map(|(at, (_, one))| {
        json!({
            "value": [hex(one.account.as_bytes()), one.total.units().to_string()],
            "treeIndex": nodes - 1 - at,
        })
    });
    Some(json!({
        "format": "standard-v1",
        "leafEncoding": ["bytes32", "uint256"],
        "tree": tree.iter().map(|hash| hex(hash)).collect::<Vec<_>>(),
        "values": values.collect::<Vec<_>>(),
    }))
}

fn leaf(one: &Earned) -> [u8; 32] {
    let mut encoded = [0; 64];
    let (account, total) = encoded.split_at_mut(32);
    account.copy_from_slice(one.account.as_bytes());
    let (_, low) = total.split_at_mut(16);
    low.copy_from_slice(&one.total.units().to_be_bytes());
    keccak(&keccak(&encoded))
}

fn keccak(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use adit_ledger::Key;
    use adit_protocol::Amount;

    use super::*;

    #[test]
    fn the_parts_of_a_dump() {
        assert_eq!(dump(&[]), None);
        // The digest of nothing, as everyone knows it.
        assert_eq!(
            hex(&keccak(b"")),
            "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        );
        let earned: Vec<_> = (1..=5)
            .map(|n| Earned {
                account: Key::from_bytes([n; 32]),
                total: Amount::tokens(n.into()),
            })
            .collect();
        let dumped = dump(&earned).unwrap();
        let tree = dumped["tree"].as_array().unwrap();
        assert_eq!(tree.len(), 9);
        for value in dumped["values"].as_array().unwrap() {
            let at = usize::try_from(value["treeIndex"].as_u64().unwrap()).unwrap();
            let account = value["value"][0].as_str().unwrap();
            let one = earned
                .iter()
                .find(|one| hex(one.account.as_bytes()) == account);
            assert_eq!(tree[at], hex(&leaf(one.unwrap())));
        }
    }
}
