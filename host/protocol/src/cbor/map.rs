//! Maps with text keys.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::Serialize;

/// A map from text to `V`. In memory it is ordered as a [`BTreeMap`]; encoded, its keys are
/// ordered by length and then by bytes, which is the order of RFC 8949, 4.2.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SortedMap<V>(BTreeMap<String, V>);

impl<V> SortedMap<V> {
    /// An empty map.
    pub const fn new() -> SortedMap<V> {
        SortedMap(BTreeMap::new())
    }

    /// The map without its wrapper.
    pub fn into_inner(self) -> BTreeMap<String, V> {
        self.0
    }
}

impl<V> Default for SortedMap<V> {
    fn default() -> SortedMap<V> {
        SortedMap::new()
    }
}

impl<V> Deref for SortedMap<V> {
    type Target = BTreeMap<String, V>;

    fn deref(&self) -> &BTreeMap<String, V> {
        &self.0
    }
}

impl<V> DerefMut for SortedMap<V> {
    fn deref_mut(&mut self) -> &mut BTreeMap<String, V> {
        &mut self.0
    }
}

impl<V> From<BTreeMap<String, V>> for SortedMap<V> {
    fn from(map: BTreeMap<String, V>) -> SortedMap<V> {
        SortedMap(map)
    }
}

impl<K: Into<String>, V> FromIterator<(K, V)> for SortedMap<V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> SortedMap<V> {
        SortedMap(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }
}

impl<V> IntoIterator for SortedMap<V> {
    type Item = (String, V);
    type IntoIter = std::collections::btree_map::IntoIter<String, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, V> IntoIterator for &'a SortedMap<V> {
    type Item = (&'a String, &'a V);
    type IntoIter = std::collections::btree_map::Iter<'a, String, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<C, V: Encode<C>> Encode<C> for SortedMap<V> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let mut entries: Vec<(&String, &V)> = self.0.iter().collect();
        entries.sort_by_key(|(key, _)| (key.len(), key.as_str()));
        e.map(entries.len() as u64)?;
        for (key, value) in entries {
            e.str(key)?;
            value.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C, V: Decode<'b, C>> Decode<'b, C> for SortedMap<V> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        // The order and the uniqueness of the keys were checked by the scan before.
        let mut map = BTreeMap::new();
        for entry in d.map_iter_with::<C, String, V>(ctx)? {
            let (key, value) = entry?;
            map.insert(key, value);
        }
        Ok(SortedMap(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_by_length_then_bytes() {
        let map: SortedMap<u64> = [("aa", 1), ("b", 2), ("a", 3), ("", 4)]
            .into_iter()
            .collect();
        let bytes = minicbor::to_vec(&map).unwrap();
        assert_eq!(
            bytes,
            [
                0xa4, 0x60, 4, 0x61, b'a', 3, 0x61, b'b', 2, 0x62, b'a', b'a', 1
            ]
        );
        assert_eq!(minicbor::decode::<SortedMap<u64>>(&bytes).unwrap(), map);
    }
}
