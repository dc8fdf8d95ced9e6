//! Draws a page of text, for this crate's tests and for those of `adit`, which include the file.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster};

/// White paper with black letters.
pub struct Drawing {
    width: usize,
    /// The grey of each pixel, row by row.
    pixels: Vec<u8>,
}

impl Drawing {
    /// An empty page.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            pixels: vec![255; width * height],
        }
    }

    /// Writes a text whose left upper corner is at `x` and `y`, in letters 24 or 32 pixels high.
    pub fn write(&mut self, x: usize, y: usize, size: RasterHeight, text: &str) {
        let mut x = x;
        for character in text.chars() {
            let letter = get_raster(character, FontWeight::Regular, size)
                .unwrap_or_else(|| panic!("there is no letter {character:?} to draw"));
            for (row, inks) in letter.rows().enumerate() {
                let start = (y + row) * self.width + x;
                for (pixel, ink) in self.pixels[start..].iter_mut().zip(inks) {
                    *pixel = (*pixel).min(255 - ink);
                }
            }
            x += letter.width();
        }
        assert!(x <= self.width, "{text:?} is wider than the page");
    }

    /// The page as a PNG file.
    pub fn png(&self) -> Vec<u8> {
        let height = self.pixels.len() / self.width;
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, height as u32);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&self.pixels).unwrap();
        writer.finish().unwrap();
        file
    }
}

/// A page of four lines, one of them with two pieces, and what is to be read of it.
pub fn sample() -> (Vec<u8>, &'static str) {
    let mut page = Drawing::new(800, 480);
    page.write(60, 50, RasterHeight::Size32, "The quick brown fox");
    page.write(60, 130, RasterHeight::Size32, "jumps over 13 lazy dogs.");
    page.write(60, 230, RasterHeight::Size24, "Total (net):");
    page.write(480, 230, RasterHeight::Size24, "EUR 1,204.50");
    page.write(60, 330, RasterHeight::Size24, "Invoice 4711 of 2024-06-30");
    let text = "The quick brown fox\n\
                jumps over 13 lazy dogs.\n\
                Total (net): EUR 1,204.50\n\
                Invoice 4711 of 2024-06-30\n";
    (page.png(), text)
}
