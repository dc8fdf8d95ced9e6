//! The files that a log is served as: paths, which ones there are, hashes and entries in them.

use adit_protocol::Hash;
use adit_protocol::log::bundle::{self, BundleError};
use adit_protocol::log::tile::{self, Level, Tile, TileDataError, TileError};
use adit_protocol::log::tree::leaf_hash;
use serde_json::{Value, json};

use super::super::kind::{Bad, Good, Kind, Refusal, hex, json_file, names, parse, text};
use super::entry;

names! { TileError, TILE_ERRORS:
    TileError::Form => "form" null
    TileError::Level => "level" null
    TileError::Width => "width" null
    TileError::Index => "index-of-no-log" null
}
names! { TileDataError, DATA_ERRORS:
    TileDataError::Length { expected, found, .. } => "length" {"expected": expected, "found": found}
    TileDataError::Entries { .. } => "entries" null
}

/// Those that a reader can meet; [`BundleError::EntryLength`] is the writer's, as two bytes hold no
/// such length.
const BUNDLE_ERRORS: &[&str] = &["entries", "truncated", "count"];

impl From<BundleError> for Refusal {
    fn from(error: BundleError) -> Refusal {
        let (error, detail) = match error {
            BundleError::EntryLength { .. } => unreachable!("no bytes decode to it"),
            BundleError::Entries { found } => ("entries", json!({ "found": found })),
            BundleError::Truncated { at } => ("truncated", json!({ "at": at })),
            BundleError::Count { expected, found } => {
                ("count", json!({ "expected": expected, "found": found }))
            }
        };
        Refusal { error, detail }
    }
}

fn path_file(path: &str) -> Vec<u8> {
    json_file(json!({ "path": path }))
}

fn value(tile: Tile) -> Value {
    let level = match tile.level() {
        Level::Entries => json!("entries"),
        Level::Hashes(level) => json!(level),
    };
    json!({ "level": level, "index": tile.index(), "width": tile.width() })
}

pub fn paths() -> Kind {
    let good = |name: &str, path: &str| {
        let tile = path.parse().expect("a path");
        Good::new(name, path_file(path), value(tile))
    };
    let bad = |name: &str, path: &str, error: TileError, why: &str| {
        Bad::new(name, path_file(path), error, why)
    };
    use TileError::{Form, Index, Level, Width};
    Kind {
        name: "tile-paths",
        extension: "json",
        about: "Paths of a log's files (C2SP tlog-tiles): level or `entries`, index, and the width of a partial one. A log has at most 2^62 entries.",
        good: vec![
            good("first", "tile/0/000"),
            good("partial", "tile/0/001.p/255"),
            good("narrowest", "tile/1/000.p/1"),
            good("three-groups", "tile/3/x001/x234/067"),
            good("entries", "tile/entries/999"),
            good("entries-partial", "tile/entries/x001/000.p/7"),
            good(
                "last-of-the-largest-log",
                "tile/0/x018/x014/x398/x509/x481/983",
            ),
            good("highest-of-the-largest-log", "tile/7/000.p/64"),
        ],
        bad: vec![
            bad("no-index", "tile/0", Form, "the index is missing"),
            bad(
                "leading-slash",
                "/tile/0/000",
                Form,
                "it begins with a slash",
            ),
            bad(
                "trailing-slash",
                "tile/0/000/",
                Form,
                "it ends with a slash",
            ),
            bad("two-digits", "tile/0/00", Form, "a group of digits has two"),
            bad(
                "four-digits",
                "tile/0/0000",
                Form,
                "a group of digits has four",
            ),
            bad("sign", "tile/0/+01", Form, "a sign would be a second form"),
            bad(
                "no-x",
                "tile/0/001/002",
                Form,
                "a group before the last has no x",
            ),
            bad(
                "x-on-the-last",
                "tile/0/x001",
                Form,
                "the last group has an x",
            ),
            bad(
                "group-of-zeros",
                "tile/0/x000/001",
                Form,
                "a group of zeros in front would be a second form",
            ),
            bad(
                "parent-folder",
                "tile/0/../../000",
                Form,
                "it leads out of the log",
            ),
            bad(
                "level-with-zero",
                "tile/00/000",
                Level,
                "a leading zero would be a second form",
            ),
            bad("level-8", "tile/8/000.p/1", Level, "no log has a level 8"),
            bad(
                "level-by-another-name",
                "tile/data/000",
                Level,
                "entries are at `entries`",
            ),
            bad(
                "width-0",
                "tile/0/000.p/0",
                Width,
                "an empty file is not served",
            ),
            bad(
                "width-256",
                "tile/0/000.p/256",
                Width,
                "a full file has no width in its path",
            ),
            bad(
                "width-with-zero",
                "tile/0/000.p/01",
                Width,
                "a leading zero would be a second form",
            ),
            bad(
                "width-missing",
                "tile/0/000.p/",
                Width,
                "the width is missing",
            ),
            bad(
                "index-beyond-the-largest-log",
                "tile/entries/x018/x014/x398/x509/x481/984.p/1",
                Index,
                "it would hold an entry after the 2^62nd",
            ),
            bad(
                "wider-than-the-largest-log",
                "tile/7/000.p/65",
                Index,
                "it would hold the hash of entries after the 2^62nd",
            ),
            bad(
                "index-above-64-bits",
                "tile/0/x099/x999/x999/x999/x999/x999/999",
                Index,
                "the index is no number of 64 bits",
            ),
        ],
        check: |file, _| {
            let file = parse(file);
            let path = text(&file, "path");
            let tile: Tile = path.parse()?;
            assert_eq!(tile.to_string(), path);
            Ok(value(tile))
        },
        errors: &[("TileError", TILE_ERRORS)],
    }
}

/// Which files a log of one size has that one of another has not.
pub fn lists() -> Kind {
    let list = |old, new| -> Vec<String> {
        tile::new_tiles(old, new)
            .map(|tile| tile.to_string())
            .collect()
    };
    let file = |old: u64, new: u64, files: Vec<String>| {
        json_file(json!({ "old": old, "new": new, "files": files }))
    };
    let good = |name: &str, old: u64, new: u64| {
        let files = list(old, new);
        let count = json!({ "count": files.len() });
        Good::new(name, file(old, new, files), count)
    };
    let bad = |name: &str, old, new, change: &dyn Fn(&mut Vec<String>), why: &str| {
        let mut files = list(old, new);
        change(&mut files);
        Bad::new(name, file(old, new, files), Refusal::new("files"), why)
    };
    Kind {
        name: "tile-lists",
        extension: "json",
        about: "The files that a log of `new` entries has and one of `old` entries has not: entries first, then hashes by level, each by index.",
        good: vec![
            good("nothing-new", 300, 300),
            good("first-entry", 0, 1),
            good("within-a-tile", 3, 5),
            good("first-full-tile", 255, 256),
            good("over-an-edge", 250, 770),
            good("second-level", 65_530, 65_540),
            good("third-level-of-the-largest", (1 << 62) - 1, 1 << 62),
        ],
        bad: vec![
            bad(
                "one-missing",
                250,
                770,
                &|files| drop(files.pop()),
                "the last is missing",
            ),
            bad(
                "empty-tile",
                200,
                256,
                &|files| files.push("tile/2/000.p/0".into()),
                "an empty tile is listed",
            ),
            bad(
                "partial-hashed-upward",
                0,
                255,
                &|files| files.push("tile/1/000.p/1".into()),
                "a tile that is not full has no hash in the next level",
            ),
            bad(
                "unchanged-tile",
                300,
                310,
                &|files| files.insert(0, "tile/entries/000".into()),
                "a file that the older log has is listed",
            ),
        ],
        check: |file, _| {
            let file = parse(file);
            let size = |key: &str| match &file[key] {
                Value::String(digits) => digits.parse().expect("a number"),
                number => number.as_u64().expect("a number"),
            };
            let files: Vec<&str> = (file["files"].as_array().expect("a list").iter())
                .map(|path| path.as_str().expect("a path"))
                .collect();
            let expected: Vec<String> = tile::new_tiles(size("old"), size("new"))
                .map(|tile| tile.to_string())
                .collect();
            match files == expected {
                true => Ok(json!({ "count": files.len() })),
                false => Err(Refusal::new("files")),
            }
        },
        errors: &[("tile-list", &["files"])],
    }
}

/// Hashes in tiles.
pub fn tiles() -> Kind {
    let leaves = |range: std::ops::Range<u64>| -> Vec<Hash> {
        range.map(|at| leaf_hash(&entry(at))).collect()
    };
    let given = |path: &str| json!({ "path": path });
    let good = |name: &str, path: &str, hashes: &[Hash]| {
        let value = tile_value(hashes);
        Good::new(name, tile::to_bytes(hashes), value).given(given(path))
    };
    let bad = |name: &str, path: &str, bytes: &[u8], why: &str| {
        let tile: Tile = path.parse().expect("a path");
        let error = tile.hashes(bytes).expect_err("no tile");
        Bad::new(name, bytes, error, why).given(given(path))
    };
    let three = tile::to_bytes(&leaves(256..259));
    let full = leaves(0..256);
    let above = tile::full_hash(&full).expect("it is full");
    Kind {
        name: "tiles",
        extension: "bin",
        about: "Tiles: the hashes one after the other. The hash of a full one, and of no other, stands in the next level.",
        good: vec![
            good("partial", "tile/0/001.p/3", &leaves(256..259)),
            good("full", "tile/0/000", &full),
            good("next-level", "tile/1/000.p/1", &[above]),
        ],
        bad: vec![
            bad("empty", "tile/0/001.p/3", &[], "there are no hashes"),
            bad(
                "hash-missing",
                "tile/0/001.p/3",
                &three[..64],
                "a hash is missing",
            ),
            bad(
                "hash-too-many",
                "tile/0/001.p/2",
                &three,
                "there is a hash too many",
            ),
            bad(
                "byte-missing",
                "tile/0/001.p/3",
                &three[..95],
                "the last byte is missing",
            ),
            bad(
                "not-full",
                "tile/0/001",
                &three,
                "a full tile has 256 hashes",
            ),
            bad(
                "entries",
                "tile/entries/001.p/3",
                &three,
                "the path is that of a bundle of entries",
            ),
        ],
        check: |file, given| {
            let tile: Tile = text(given, "path").parse()?;
            Ok(tile_value(&tile.hashes(file)?))
        },
        errors: &[("TileDataError", DATA_ERRORS)],
    }
}

fn tile_value(hashes: &[Hash]) -> Value {
    json!({
        "count": hashes.len(),
        "first": hashes.first(),
        "last": hashes.last(),
        "full_hash": tile::full_hash(hashes),
    })
}

/// Entries in bundles.
pub fn bundles() -> Kind {
    let given = |width: u16| json!({ "width": width });
    let good = |name: &str, entries: &[&[u8]]| {
        let bytes = bundle::encode(entries).expect("a bundle");
        Good::new(name, bytes, bundle_value(entries)).given(given(entries.len() as u16))
    };
    let bad = |name: &str, bytes: &[u8], width: u16, why: &str| {
        let error = bundle::decode_width(bytes, width).expect_err("no bundle");
        Bad::new(name, bytes, error, why).given(given(width))
    };
    let full: Vec<Vec<u8>> = (0..256).map(entry).collect();
    let full: Vec<&[u8]> = full.iter().map(Vec::as_slice).collect();
    let two = bundle::encode(["abc", "de"]).expect("a bundle");
    Kind {
        name: "entry-bundles",
        extension: "bin",
        about: "Bundles of 1 to 256 entries: length u16 BE, entry, and so on. `width` is what the path says. The hash of an entry as a leaf is that of a zero byte and the entry.",
        good: vec![
            good("one", &[b"entry"]),
            good("of-any-length", &[b"", &[7; 300], b"\0"]),
            good("full", &full),
        ],
        bad: vec![
            bad("no-bytes", &[], 1, "an empty bundle is not served"),
            bad("too-many", &[0; 514], 256, "there are 257 entries"),
            bad(
                "length-cut-off",
                &two[..6],
                2,
                "the second entry's length is cut off",
            ),
            bad("entry-cut-off", &two[..8], 2, "the second entry is cut off"),
            bad(
                "little-endian",
                b"\x03\0abc",
                1,
                "the length is written with the lowest byte first",
            ),
            bad(
                "trailing-byte",
                &[&two[..], &[0]].concat(),
                2,
                "a byte follows the last entry",
            ),
            bad(
                "fewer-than-said",
                &two,
                3,
                "the path says that there are three entries",
            ),
            bad(
                "more-than-said",
                &two,
                1,
                "the path says that there is one entry",
            ),
        ],
        check: |file, given| {
            let width = given["width"].as_u64().expect("a number") as u16;
            let entries = bundle::decode_width(file, width)?;
            assert_eq!(bundle::encode(&entries).expect("a bundle"), file);
            Ok(bundle_value(&entries))
        },
        errors: &[("BundleError", BUNDLE_ERRORS)],
    }
}

/// Of a full bundle only the ends are shown, by the hashes that their leaves have.
fn bundle_value(entries: &[&[u8]]) -> Value {
    let leaf = |entry: Option<&&[u8]>| entry.map(|entry| leaf_hash(entry));
    json!({
        "count": entries.len(),
        "first": entries.first().map(hex),
        "first_leaf": leaf(entries.first()),
        "last_leaf": leaf(entries.last()),
    })
}
