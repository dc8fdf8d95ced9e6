//! Files of every kind that is read, and what becomes of damaged ones.

use super::*;

/// A PNG file of some pixels, as `header` describes them.
fn png(size: [u32; 2], data: &[u8], header: impl Fn(&mut png::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size[0], size[1]);
    header(&mut encoder);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    file
}

/// A JPEG file of 16 x 8 pixels, all of the grey 200 (ITU-T T.81).
fn jpeg() -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    let mut segment = |marker: u8, body: &[u8]| {
        file.extend([0xff, marker]);
        file.extend((body.len() as u16 + 2).to_be_bytes());
        file.extend(body);
    };
    // All factors of quantisation are 1.
    segment(0xdb, &[&[0][..], &[1; 64]].concat());
    segment(0xc0, &[8, 0, 8, 0, 16, 1, 1, 0x11, 0]);
    // The code 0 says that a mean follows in 10 bits, and 10 that it is the same as before; among
    // the other coefficients, 0 says that there are no more.
    let lengths = |counts: [u8; 2]| [&counts[..], &[0; 14]].concat();
    segment(0xc4, &[&[0x00][..], &lengths([1, 1]), &[10, 0]].concat());
    segment(0xc4, &[&[0x10][..], &lengths([1, 0]), &[0]].concat());
    segment(0xda, &[1, 1, 0, 0, 63, 0]);
    // 0 and (200 - 128) * 8, 0; 10, 0; and a one to fill up: 0 1001000000 0 10 0 1.
    file.extend([0b0100_1000, 0b0000_1001]);
    file.extend([0xff, 0xd9]);
    file
}

#[test]
fn every_kind_of_png_is_read() {
    use png::{BitDepth, ColorType};
    let row = |file: Vec<u8>| {
        let page = decode(&file).unwrap();
        assert_eq!((page.width(), page.height()), (2, 1));
        page.row(0).to_vec()
    };
    let kind = |color, depth, data: &[u8]| {
        row(png([2, 1], data, |encoder| {
            encoder.set_color(color);
            encoder.set_depth(depth);
        }))
    };
    let (grey, rgb) = (ColorType::Grayscale, ColorType::Rgb);
    assert_eq!(kind(grey, BitDepth::One, &[0x40]), [0, 0, 0, 255, 255, 255]);
    assert_eq!(kind(grey, BitDepth::Eight, &[7, 8]), [7, 7, 7, 8, 8, 8]);
    let deep = [0x70, 0x01, 0x80, 0xff];
    assert_eq!(kind(grey, BitDepth::Sixteen, &deep)[2..4], [0x70, 0x80]);
    let colours = [1, 2, 3, 4, 5, 6];
    assert_eq!(kind(rgb, BitDepth::Eight, &colours), colours);
    let clear = [9, 9, 9, 0, 4, 5, 6, 255];
    let expected = [255, 255, 255, 4, 5, 6];
    assert_eq!(kind(ColorType::Rgba, BitDepth::Eight, &clear), expected);
    let palette = row(png([2, 1], &[1, 0], |encoder| {
        encoder.set_color(ColorType::Indexed);
        encoder.set_palette(&[1, 2, 3, 4, 5, 6]);
        encoder.set_trns(&[255, 0][..]);
    }));
    assert_eq!(palette, [255, 255, 255, 1, 2, 3]);
}

#[test]
fn a_jpeg_is_read() {
    let page = decode(&jpeg()).unwrap();
    assert_eq!((page.width(), page.height()), (16, 8));
    assert_eq!(page.row(7), [200; 48]);
}

#[test]
fn the_size_is_checked_before_memory_is_taken() {
    let size = |width: u32, height: u32| {
        // The header alone: what follows is never asked for.
        let mut file = png([1, 1], &[0], |_| {});
        let header = [
            &b"IHDR"[..],
            &width.to_be_bytes(),
            &height.to_be_bytes(),
            &file[24..29],
        ];
        let header = header.concat();
        file[12..29].copy_from_slice(&header);
        let mut crc = flate2::Crc::new();
        crc.update(&header);
        file[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        decode(&file).err().unwrap()
    };
    for (width, height) in [(10_001, 1), (1, 10_001), (6_001, 6_000), (1 << 30, 1 << 30)] {
        let failure = size(width, height);
        assert!(matches!(failure, Failure::TooLarge { .. }), "{failure}");
        assert!(failure.to_string().contains(&format!("{width} x {height}")));
    }
    // This one fits, but is not there.
    assert!(matches!(size(6_000, 6_000), Failure::Unreadable { .. }));

    let mut large = jpeg();
    let frame = large
        .windows(2)
        .position(|two| two == [0xff, 0xc0])
        .unwrap();
    large[frame + 5..frame + 9].fill(0xff);
    assert!(matches!(
        decode(&large),
        Err(Failure::TooLarge {
            width: 65_535,
            height: 65_535
        })
    ));
}

#[test]
fn what_is_cut_off_is_refused_and_not_read_in_part() {
    // What comes behind the pixels has nothing to say. A JPEG decoder makes up what is missing of
    // the last row of blocks, so the test goes to the end of the headers.
    let small = png([9, 40], &[77; 9 * 40], |_| {});
    for (file, behind) in [(small, 12), (jpeg(), 4)] {
        for length in 0..file.len() - behind {
            let cut = decode(&file[..length]);
            assert!(cut.is_err(), "{length} of {}", file.len());
        }
    }
    let failure = decode(b"%PDF-1.7").err().unwrap();
    assert_eq!(failure, Failure::NotAnImage { bytes: 8 });
    assert_eq!(decode(b"").err(), Some(Failure::NotAnImage { bytes: 0 }));
}

/// No byte of a file, whatever it is changed to, makes a decoder panic.
#[test]
fn damage_is_found_or_does_not_matter() {
    let small = png([9, 4], &[77; 9 * 4 * 4], |encoder| {
        encoder.set_color(png::ColorType::Rgba)
    });
    for file in [small, jpeg()] {
        for at in 0..file.len() {
            for change in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[at] ^= change;
                if let Ok(page) = decode(&damaged) {
                    assert!(page.width() <= SIDE_MAX && page.height() <= SIDE_MAX);
                }
            }
        }
    }
}
