//! CBOR taken apart just far enough to be put together wrongly.

use minicbor::Decoder;
use minicbor::data::Type;

/// An encoded item. Heads of maps and arrays are written anew, everything else is kept as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Map(Entries),
    Array(Vec<Node>),
    /// Bytes that are taken as they are, whatever they say.
    Raw(Vec<u8>),
}

/// Keys and values of a map, in the order of the encoding.
pub type Entries = Vec<(Node, Node)>;

impl Node {
    /// Takes an encoded document apart.
    pub fn parse(bytes: &[u8]) -> Node {
        let mut decoder = Decoder::new(bytes);
        let node = item(&mut decoder, bytes);
        assert_eq!(decoder.position(), bytes.len());
        assert_eq!(node.encode(), bytes);
        node
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Node::Map(entries) => {
                bytes.extend(head(0xa0, entries.len()));
                for (key, value) in entries {
                    bytes.extend(key.encode());
                    bytes.extend(value.encode());
                }
            }
            Node::Array(list) => {
                bytes.extend(head(0x80, list.len()));
                bytes.extend(list.iter().flat_map(Node::encode));
            }
            Node::Raw(raw) => bytes.extend(raw),
        }
        bytes
    }

    /// The entries of a map.
    pub fn entries(&mut self) -> &mut Entries {
        match self {
            Node::Map(entries) => entries,
            other => panic!("{other:?} is no map"),
        }
    }

    /// The value at a path of positions: of the value in a map's entries, of the item in an array.
    pub fn at(&mut self, path: &[usize]) -> &mut Node {
        path.iter().fold(self, |node, position| match node {
            Node::Map(entries) => &mut entries[*position].1,
            Node::Array(list) => &mut list[*position],
            Node::Raw(raw) => panic!("{raw:x?} has nothing inside"),
        })
    }

    /// Where the value at a path begins in the encoding.
    pub fn offset(&self, path: &[usize]) -> usize {
        // A mark that no document has, so that its place is the place of the value.
        const MARK: [u8; 7] = *b"\xff\xfe\xfdMARK";
        let mut marked = self.clone();
        *marked.at(path) = Node::Raw(MARK.to_vec());
        let bytes = marked.encode();
        let place = bytes.windows(MARK.len()).position(|window| window == MARK);
        place.expect("the mark was put there")
    }
}

fn item(decoder: &mut Decoder<'_>, bytes: &[u8]) -> Node {
    match decoder.datatype().expect("the document is well formed") {
        Type::Map => {
            let count = decoder.map().unwrap().expect("the length is given");
            let entry = |_| (item(decoder, bytes), item(decoder, bytes));
            Node::Map((0..count).map(entry).collect())
        }
        Type::Array => {
            let count = decoder.array().unwrap().expect("the length is given");
            Node::Array((0..count).map(|_| item(decoder, bytes)).collect())
        }
        _ => {
            let start = decoder.position();
            decoder.skip().unwrap();
            Node::Raw(bytes[start..decoder.position()].to_vec())
        }
    }
}

/// The head of a map or an array.
fn head(major: u8, count: usize) -> Vec<u8> {
    match u16::try_from(count).expect("no vector is so large") {
        short @ 0..=23 => vec![major | short as u8],
        byte @ 24..=255 => vec![major | 24, byte as u8],
        word => {
            let [high, low] = word.to_be_bytes();
            vec![major | 25, high, low]
        }
    }
}
