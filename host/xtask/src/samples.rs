//! The files that the demo has classified: real ones, of this project and of this machine.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::project::Project;

/// One file of the demo's folder.
pub struct Sample {
    pub name: &'static str,
    origin: Origin,
    /// What the model has to call it: one of these.
    pub labels: &'static [&'static str],
}

enum Origin {
    /// A file of the repository.
    Repository(&'static str),
    /// The first bytes of a file that was built or fetched, its path below the target folder.
    Built(&'static str, u64),
    /// Bytes written here.
    Bytes(&'static [u8]),
    /// A picture computed here.
    Picture,
    /// What `tar` makes of two files of the repository. Left out where there is no `tar`.
    Tar,
}

/// The samples. Two have names that lie: the model sees only bytes.
pub const SAMPLES: &[Sample] = &[
    Sample {
        name: "README.md",
        origin: Origin::Repository("README.md"),
        labels: &["markdown"],
    },
    Sample {
        name: "LICENSE",
        origin: Origin::Repository("LICENSE"),
        labels: &["txt"],
    },
    Sample {
        name: "workspace.toml",
        origin: Origin::Repository("Cargo.toml"),
        labels: &["toml"],
    },
    Sample {
        name: "fetch.rs",
        origin: Origin::Repository("host/xtask/src/fetch.rs"),
        labels: &["rust"],
    },
    Sample {
        name: "holiday.jpg",
        origin: Origin::Repository(".ci/run"),
        labels: &["shell"],
    },
    Sample {
        name: "invoice.pdf",
        origin: Origin::Built("release/adit", 65_536),
        labels: &["elf", "macho"],
    },
    Sample {
        name: "file_type.wasm",
        origin: Origin::Built("wasm32-wasip2/release/file_type.wasm", u64::MAX),
        labels: &["wasm"],
    },
    Sample {
        name: "model.onnx",
        origin: Origin::Built("models/magika/model.onnx", u64::MAX),
        labels: &["onnx"],
    },
    Sample {
        name: "backup.tar",
        origin: Origin::Tar,
        labels: &["tar"],
    },
    Sample {
        name: "gradient.png",
        origin: Origin::Picture,
        labels: &["png"],
    },
    Sample {
        name: "config.json",
        origin: Origin::Bytes(JSON),
        labels: &["json"],
    },
    Sample {
        name: "miners.csv",
        origin: Origin::Bytes(CSV),
        labels: &["csv"],
    },
    Sample {
        name: "page.html",
        origin: Origin::Bytes(HTML),
        labels: &["html"],
    },
    Sample {
        name: "mean.py",
        origin: Origin::Bytes(PYTHON),
        labels: &["python"],
    },
];

/// Writes the samples into `folder`, which must exist. Returns those that could be made here.
pub fn write(project: &Project, folder: &Path) -> Result<Vec<&'static Sample>> {
    let mut written = Vec::new();
    for sample in SAMPLES {
        let path = folder.join(sample.name);
        let bytes = match sample.origin {
            Origin::Repository(from) => read(&project.root.join(from), u64::MAX)?,
            Origin::Built(from, size) => read(&project.target.join(from), size)?,
            Origin::Bytes(bytes) => bytes.to_vec(),
            Origin::Picture => picture(),
            Origin::Tar => match tar(&project.root) {
                Some(bytes) => bytes,
                None => continue,
            },
        };
        fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        written.push(sample);
    }
    Ok(written)
}

fn read(path: &Path, size: u64) -> Result<Vec<u8>> {
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    let mut bytes = Vec::new();
    file.take(size)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    Ok(bytes)
}

fn tar(root: &Path) -> Option<Vec<u8>> {
    let answer = Command::new("tar")
        .current_dir(root)
        .args(["-cf", "-", "LICENSE", "Cargo.toml"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    answer.status.success().then_some(answer.stdout)
}

/// A 64 x 64 RGB gradient as PNG (RFC 2083), its pixels in one stored deflate block (RFC 1951).
fn picture() -> Vec<u8> {
    const SIDE: u8 = 64;
    let mut pixels = Vec::new();
    for y in 0..SIDE {
        // Each row begins with its filter type: none.
        pixels.push(0);
        for x in 0..SIDE {
            pixels.extend([x * 4, y * 4, 255 - x * 2 - y * 2]);
        }
    }
    // 64 rows of 193 bytes fit into one stored block, whose length is 16 bits.
    let length = pixels.len() as u16;
    let mut data = vec![0x78, 0x01, 0x01];
    data.extend(length.to_le_bytes());
    data.extend((!length).to_le_bytes());
    data.extend(&pixels);
    data.extend(adler32(&pixels).to_be_bytes());

    let side = u32::from(SIDE).to_be_bytes();
    let header = [&side[..], &side[..], &[8, 2, 0, 0, 0]].concat();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, body) in [(b"IHDR", &header), (b"IDAT", &data), (b"IEND", &Vec::new())] {
        png.extend((body.len() as u32).to_be_bytes());
        let checked = [&name[..], body].concat();
        png.extend(&checked);
        png.extend(crc32(&checked).to_be_bytes());
    }
    png
}

/// RFC 1950, section 8.2.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    (high << 16) | low
}

/// RFC 2083, section 15.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ ((crc & 1) * 0xEDB8_8320);
        }
    }
    !crc
}

const JSON: &[u8] = br#"{
  "listen": "127.0.0.1:7400",
  "limits": { "memory": 268435456, "fuel": 1000000000, "deadline_ms": 30000 },
  "devices": [
    { "name": "cpu", "threads": 2, "enabled": true },
    { "name": "gpu0", "threads": null, "enabled": false }
  ],
  "labels": ["demo", "laptop"]
}
"#;

const CSV: &[u8] = b"\
miner,stake,tasks,failed,seconds
5GrwvaEF,20000,1412,3,7210.50
5FHneW46,35000,2260,0,11832.25
5FLSigC9,20500,801,12,4019.75
5DAAnrj7,61000,5123,7,26640.00
5HGjWAeF,20000,95,0,472.10
5CiPPseX,27500,1710,1,8811.90
";

const HTML: &[u8] = b"\
<!DOCTYPE html>
<html lang=\"en\">
<head>
  <meta charset=\"utf-8\">
  <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
  <title>Receipts of today</title>
  <link rel=\"stylesheet\" href=\"style.css\">
</head>
<body>
  <h1>Receipts of today</h1>
  <p>Every row links to its <a href=\"receipt.html\">receipt</a>, which you can verify yourself.</p>
  <table class=\"receipts\">
    <thead>
      <tr><th>Task</th><th>Status</th><th>Fuel</th></tr>
    </thead>
    <tbody>
      <tr><td>file-type</td><td>ok</td><td>184,022,117</td></tr>
      <tr><td>word-count</td><td>ok</td><td>1,904,335</td></tr>
    </tbody>
  </table>
  <div id=\"footer\"><img src=\"logo.png\" alt=\"Logo\"><br>Updated each minute.</div>
  <script src=\"refresh.js\"></script>
</body>
</html>
";

const PYTHON: &[u8] = b"\
import csv
import sys
from statistics import mean


def seconds_per_task(path):
    \"\"\"Mean seconds per task over all miners of a table.\"\"\"
    with open(path, newline=\"\") as table:
        rows = list(csv.DictReader(table))
    return mean(float(row[\"seconds\"]) / int(row[\"tasks\"]) for row in rows)


if __name__ == \"__main__\":
    print(f\"{seconds_per_task(sys.argv[1]):.2f}\")
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_match_their_published_check_values() {
        // The usual check input of both.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }

    #[test]
    fn the_picture_is_framed_as_png() {
        let png = picture();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
        // Signature, three chunks of 12 bytes around 13 and 64 * 193 + 11 bytes.
        assert_eq!(png.len(), 8 + 3 * 12 + 13 + 64 * 193 + 11);
        assert!(png.ends_with(b"IEND\xaeB`\x82"));
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = SAMPLES.iter().map(|s| s.name).collect();
        assert_eq!(names.len(), SAMPLES.len());
    }
}
