//! From the bytes of a PNG or JPEG file to a page, with its bounds checked before memory is taken.

use std::io::Cursor;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::error::Failure;
use crate::page::Page;
use crate::{PIXELS_MAX, SIDE_MAX};

/// What a PNG decoder may take beside the pixels, in bytes: rows, tables and what is written
/// beside the image (texts, colour profiles), which is not read.
const PNG_BYTES_MAX: usize = 64 << 20;
/// How often a progressive JPEG may go over all of its pixels. Usual ones have about ten scans.
const JPEG_SCANS_MAX: usize = 64;

/// Decodes a file. An animated PNG is its first image; what else is in a file beside its pixels,
/// such as a colour profile or which side is up, is not looked at.
///
/// # Errors
///
/// [`Failure::NotAnImage`], [`Failure::Unreadable`] or [`Failure::TooLarge`].
pub(crate) fn decode(file: &[u8]) -> Result<Page, Failure> {
    match file {
        [0x89, b'P', b'N', b'G', ..] => decode_png(file),
        [0xff, 0xd8, ..] => decode_jpeg(file),
        _ => Err(Failure::NotAnImage { bytes: file.len() }),
    }
}

/// Checks the size that a file states.
fn check_size(width: usize, height: usize) -> Result<(), Failure> {
    let fits = width <= SIDE_MAX && height <= SIDE_MAX && width * height <= PIXELS_MAX;
    match fits {
        true => Ok(()),
        false => Err(Failure::TooLarge { width, height }),
    }
}

fn decode_png(file: &[u8]) -> Result<Page, Failure> {
    let unreadable = |reason: String| Failure::Unreadable {
        format: "PNG",
        reason,
    };
    let limits = png::Limits {
        bytes: PNG_BYTES_MAX,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(file), limits);
    // 8 bits for each channel, and palettes looked up.
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder
        .read_header_info()
        .map_err(|error| unreadable(error.to_string()))?;
    let (width, height) = (header.width as usize, header.height as usize);
    check_size(width, height)?;
    let mut reader = decoder
        .read_info()
        .map_err(|error| unreadable(error.to_string()))?;
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| unreadable("it is too large".to_string()))?;
    let mut data = vec![0; size];
    let info = reader
        .next_frame(&mut data)
        .map_err(|error| unreadable(error.to_string()))?;
    // An animation may begin with an image that covers only a part.
    let whole = (info.width as usize, info.height as usize) == (width, height);
    Page::new(width, height, info.color_type.samples(), data)
        .filter(|_| whole)
        .ok_or_else(|| unreadable("its first image does not fill it".to_string()))
}

fn decode_jpeg(file: &[u8]) -> Result<Page, Failure> {
    let unreadable = |reason: String| Failure::Unreadable {
        format: "JPEG",
        reason,
    };
    let options = DecoderOptions::new_safe()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(JPEG_SCANS_MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        // A file that was cut off is refused rather than read as far as it goes: text would be
        // missing without a word.
        .set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder
        .decode_headers()
        .map_err(|error| unreadable(error.to_string()))?;
    let (width, height) = match decoder.info() {
        Some(info) => (usize::from(info.width), usize::from(info.height)),
        None => return Err(unreadable("it states no size".to_string())),
    };
    check_size(width, height)?;
    let data = decoder
        .decode()
        .map_err(|error| unreadable(error.to_string()))?;
    Page::new(width, height, 3, data)
        .ok_or_else(|| unreadable("it has other pixels than it states".to_string()))
}

#[cfg(test)]
mod tests;
