//! Compressed archives, by the programs `tar` and `xz`, in files of a bounded size.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::project;

/// Compresses `members` of `folder` into one file. Returns its size in bytes.
pub fn pack<S: AsRef<OsStr>>(folder: &Path, members: &[S], file: &Path) -> Result<u64> {
    let parts = pack_in_parts(folder, members, u64::MAX, |_| file.to_owned())?;
    Ok(parts.first().map_or(0, |(_, size)| *size))
}

/// Compresses `members` of `folder` into as many files as it takes, each of `size_max` bytes but
/// the last. Together they are one archive. Returns the files, and the bytes of each.
pub fn pack_in_parts<S: AsRef<OsStr>>(
    folder: &Path,
    members: &[S],
    size_max: u64,
    name: impl Fn(usize) -> PathBuf,
) -> Result<Vec<(PathBuf, u64)>> {
    let mut tar = Command::new("tar");
    // The same files give the same archive, whoever owns them here.
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name"]);
    // Two threads, which is what small machines have; another number would give another archive.
    tar.args(["--use-compress-program", "xz -T2 -6"]);
    tar.arg("-C").arg(folder).arg("-cf").arg("-").args(members);
    tar.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = tar.spawn().map_err(|error| project::start(&tar, error))?;
    let parts = match child.stdout.take() {
        Some(archive) => split(archive, size_max, name),
        None => Ok(Vec::new()),
    };
    // The programs end when their output is closed, so they do not outlive an error above, which
    // is the one to tell of.
    let status = child.wait().map_err(|error| project::start(&tar, error))?;
    let parts = parts?;
    project::succeeded(&tar, status)?;
    Ok(parts)
}

/// Copies a stream to files, each of `size_max` bytes but the last. Files of an earlier, longer
/// series stay.
fn split(
    mut from: impl Read,
    size_max: u64,
    name: impl Fn(usize) -> PathBuf,
) -> Result<Vec<(PathBuf, u64)>> {
    let mut parts = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let mut filled = read(&mut from, &mut buffer)?;
    while filled > 0 {
        let path = name(parts.len());
        let mut file = File::create(&path).map_err(Error::io("create", &path))?;
        let mut size = 0u64;
        while filled > 0 && size < size_max {
            let room = usize::try_from(size_max - size).unwrap_or(usize::MAX);
            let taken = filled.min(room);
            file.write_all(&buffer[..taken])
                .map_err(Error::io("write", &path))?;
            size += taken as u64;
            buffer.copy_within(taken..filled, 0);
            filled -= taken;
            if filled == 0 {
                filled = read(&mut from, &mut buffer)?;
            }
        }
        parts.push((path, size));
    }
    Ok(parts)
}

fn read(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            outcome => return outcome.map_err(Error::io("read", Path::new("the archive"))),
        }
    }
}

/// Removes the files of a series, from `first` on.
pub fn remove_parts(first: usize, name: impl Fn(usize) -> PathBuf) -> Result<()> {
    let mut number = first;
    while name(number).exists() {
        fs::remove_file(name(number)).map_err(Error::io("remove", &name(number)))?;
        number += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_at_the_bound_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let name = |number: usize| folder.path().join(format!("part-{number:02}"));
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        for size_max in [70_000, 100_000, 200_000, 1 << 20] {
            let parts = split(&bytes[..], size_max, name).unwrap();
            let sizes: Vec<u64> = parts.iter().map(|(_, size)| *size).collect();
            let expected: Vec<u64> = bytes
                .chunks(usize::try_from(size_max).unwrap())
                .map(|chunk| chunk.len() as u64)
                .collect();
            assert_eq!(sizes, expected);
            let joined: Vec<u8> = (parts.iter())
                .flat_map(|(path, _)| fs::read(path).unwrap())
                .collect();
            assert_eq!(joined, bytes);
            remove_parts(0, name).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(split(&[][..], 5, name).unwrap().is_empty());
    }

    #[test]
    fn parts_together_are_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("made");
        fs::create_dir_all(made.join("in")).unwrap();
        fs::write(made.join("in/file"), "hello").unwrap();
        let name = |number: usize| folder.path().join(format!("part-{number:02}"));
        let parts = pack_in_parts(&made, &["in"], 50, name).unwrap();
        assert!(parts.len() > 1);
        let joined: Vec<u8> = (parts.iter())
            .flat_map(|(path, _)| fs::read(path).unwrap())
            .collect();
        let whole = folder.path().join("whole.tar.xz");
        assert_eq!(
            pack(&made, &["in"], &whole).unwrap(),
            u64::try_from(joined.len()).unwrap()
        );
        assert_eq!(fs::read(&whole).unwrap(), joined);
    }

    #[test]
    fn a_missing_member_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        assert!(pack(folder.path(), &["none"], &file).is_err());
    }
}
