//! What a run reads from this machine: files, folders as archives, standard input. All bounded.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use adit_protocol::codes::Code;
use anyhow::Context as _;

use crate::error::Failure;
use crate::text::{one_line, size};

/// Longest input of a run, in bytes.
pub const INPUT_BYTES_MAX: u64 = 1 << 30;
/// Most files in a folder that is an input, and the deepest nesting of it.
const FILES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 64;
/// Length of a record of an archive.
const RECORD: usize = 512;

/// The whole of a file of at most `max` bytes. `what` names it in messages, as "the component".
///
/// # Errors
///
/// When it is longer or cannot be read.
pub fn read_file(path: &Path, max: u64, what: &str) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("{what} {} could not be read", path.display());
    let file = File::open(path).with_context(failed)?;
    if file.metadata().with_context(failed)?.is_dir() {
        return Failure::argument(failed())
            .why("it is a folder")
            .hint("give a file")
            .into_err();
    }
    read_bounded(file, max)
        .with_context(failed)?
        .ok_or_else(|| too_long(&failed(), max).into())
}

/// All of standard input, of at most `max` bytes.
///
/// # Errors
///
/// When it is longer or cannot be read.
pub fn read_stdin(max: u64) -> anyhow::Result<Vec<u8>> {
    let failed = "standard input could not be read";
    read_bounded(std::io::stdin().lock(), max)
        .context(failed)?
        .ok_or_else(|| too_long(failed, max).into())
}

/// `None` if there is more than `max`.
fn read_bounded(from: impl Read, max: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

fn too_long(what: &str, max: u64) -> Failure {
    Failure::argument(what)
        .why(format!("it has more than {} ({max} bytes)", size(max)))
        .hint("use a smaller one")
}

/// A folder as an archive, and what was left out of it.
#[derive(Debug)]
pub struct Archive {
    /// The bytes, in the `ustar` form of POSIX.1.
    pub bytes: Vec<u8>,
    /// Names that were left out: links, sockets, devices.
    pub skipped: Vec<String>,
}

/// Packs a folder so that the same files give the same bytes on every machine: sorted by name,
/// regular files only, without times, owners and modes. Links are never followed.
///
/// # Errors
///
/// When it is too large, or something in it cannot be read or named in an archive.
pub fn archive(folder: &Path) -> anyhow::Result<Archive> {
    let mut files = Vec::new();
    let mut skipped = Vec::new();
    list(folder, "", 0, &mut files, &mut skipped)?;
    files.sort();
    skipped.sort();
    let mut bytes = Vec::new();
    for name in files {
        append(folder, &name, &mut bytes)?;
    }
    // Two empty records end an archive.
    bytes.resize(bytes.len().saturating_add(2 * RECORD), 0);
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(too_long(&unpackable(folder), INPUT_BYTES_MAX).into());
    }
    Ok(Archive { bytes, skipped })
}

fn unpackable(folder: &Path) -> String {
    format!("the folder {} cannot be packed as input", folder.display())
}

fn list(
    root: &Path,
    below: &str,
    depth: usize,
    files: &mut Vec<String>,
    skipped: &mut Vec<String>,
) -> anyhow::Result<()> {
    let refuse = |why: String| {
        Failure::argument(unpackable(root))
            .why(why)
            .hint("give a smaller folder, or pack it yourself and give the archive")
    };
    if depth > DEPTH_MAX {
        return Err(refuse(format!("it is nested deeper than {DEPTH_MAX} folders")).into());
    }
    for entry in fs::read_dir(root.join(below)).with_context(|| unpackable(root))? {
        let entry = entry.with_context(|| unpackable(root))?;
        let name = entry.file_name().into_string().map_err(|name| {
            let shown = one_line(&name.to_string_lossy());
            refuse(format!("the name {shown:?} is not UTF-8"))
        })?;
        let name = match below {
            "" => name,
            _ => format!("{below}/{name}"),
        };
        let kind = entry.file_type().with_context(|| unpackable(root))?;
        if kind.is_dir() {
            list(root, &name, depth.saturating_add(1), files, skipped)?;
        } else if kind.is_file() {
            files.push(name);
        } else {
            skipped.push(name);
        }
        if files.len().saturating_add(skipped.len()) > FILES_MAX {
            return Err(refuse(format!("it has more than {FILES_MAX} files")).into());
        }
    }
    Ok(())
}

fn append(root: &Path, name: &str, archive: &mut Vec<u8>) -> anyhow::Result<()> {
    let failed = || unpackable(root);
    // The folder may be changed while it is read: whatever a file has become, a link is not
    // followed and a pipe is not waited for.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(root.join(name))
        .with_context(failed)?;
    let left = INPUT_BYTES_MAX.saturating_sub(archive.len() as u64);
    let Some(data) = read_bounded(file, left).with_context(failed)? else {
        return Err(too_long(&failed(), INPUT_BYTES_MAX).into());
    };
    let header = header(name, data.len() as u64).ok_or_else(|| {
        Failure::new(Code::InvalidArgument, failed())
            .why(format!("the name {name:?} is too long for an archive"))
            .hint("rename the file; a name may have 100 bytes and the folders before it 155")
    })?;
    archive.extend_from_slice(&header);
    archive.extend_from_slice(&data);
    archive.resize(archive.len().next_multiple_of(RECORD), 0);
    Ok(())
}

/// A header of POSIX.1 `ustar`; `None` if the name does not fit.
fn header(name: &str, len: u64) -> Option<[u8; RECORD]> {
    let (prefix, name) = match name.len() {
        0..=100 => ("", name),
        // The folders go into a field of their own.
        _ => name
            .match_indices('/')
            .map(|(at, _)| (name.get(..at), name.get(at.saturating_add(1)..)))
            .find_map(|(prefix, rest)| {
                let (prefix, rest) = (prefix?, rest?);
                (prefix.len() <= 155 && rest.len() <= 100).then_some((prefix, rest))
            })?,
    };
    let mut header = [0; RECORD];
    let mut put = |at: usize, text: &str| {
        for (to, from) in header.iter_mut().skip(at).zip(text.bytes()) {
            *to = from;
        }
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    // Eleven octal digits hold 8 GiB, more than an input may have.
    put(124, &format!("{len:011o}\0"));
    put(136, "00000000000\0");
    // The checksum is taken with spaces in its own place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\u{0}00");
    put(345, prefix);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (to, from) in header
        .iter_mut()
        .skip(148)
        .zip(format!("{sum:06o}\0 ").bytes())
    {
        *to = from;
    }
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_depends_on_names_and_contents_alone() {
        let make = |order: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("sub/deep")).unwrap();
            for name in order {
                fs::write(folder.path().join(name), name.as_bytes()).unwrap();
            }
            std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
            archive(folder.path()).unwrap()
        };
        let one = make(&["b", "sub/a", "sub/deep/c"]);
        let two = make(&["sub/deep/c", "sub/a", "b"]);
        assert_eq!(one.bytes, two.bytes);
        assert_eq!(one.skipped, ["link"]);
        assert_eq!(one.bytes.len(), 3 * 2 * RECORD + 2 * RECORD);
    }

    #[test]
    fn an_archive_is_read_by_tar() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "d".repeat(120), "n".repeat(90));
        fs::create_dir_all(folder.path().join("in").join("d".repeat(120))).unwrap();
        fs::write(folder.path().join("in").join(&long), "far").unwrap();
        fs::write(folder.path().join("in/short"), vec![7; 1000]).unwrap();
        let packed = folder.path().join("a.tar");
        fs::write(&packed, archive(&folder.path().join("in")).unwrap().bytes).unwrap();
        let list = std::process::Command::new("tar")
            .arg("-tf")
            .arg(&packed)
            .output()
            .unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        assert_eq!(list.lines().collect::<Vec<_>>(), [long.as_str(), "short"]);
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(header(&"x".repeat(100), 0).is_some());
        assert!(header(&"x".repeat(101), 0).is_none());
        assert!(header(&format!("{}/{}", "d".repeat(156), "n"), 0).is_none());
    }

    #[test]
    fn files_are_read_within_their_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_file(&path, 5, "the file").unwrap(), b"12345");
        assert!(read_file(&path, 4, "the file").is_err());
        assert!(read_file(folder.path(), 4, "the file").is_err());
        assert!(read_file(Path::new("/dev/zero"), 4, "the file").is_err());
    }
}
