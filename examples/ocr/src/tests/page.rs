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

/// A page of seven lines, some of several pieces, and what is to be read of it.
///
/// Between words in one piece the model leaves out a space now and then, more so in letters that
/// are all of one width as these are. It reads those that are here wherever they are written.
pub fn sample() -> (Vec<u8>, &'static str) {
    use RasterHeight::{Size24, Size32};
    let mut page = Drawing::new(800, 560);
    page.write(60, 50, Size32, "INVOICE");
    page.write(480, 50, Size32, "#4711/A");
    page.write(480, 110, Size24, "2024-06-30");
    page.write(60, 190, Size24, "Safety lamp");
    page.write(330, 190, Size24, "99%");
    page.write(480, 190, Size24, "EUR 1,204.50");
    page.write(60, 250, Size32, "Total (net):");
    page.write(480, 254, Size24, "EUR 1,204.50");
    page.write(60, 330, Size24, "Please pay within 14 days");
    page.write(60, 390, Size24, "office@adit.example");
    page.write(60, 460, Size32, "Thank you very much!");
    let text = "INVOICE #4711/A\n\
                2024-06-30\n\
                Safety lamp 99% EUR 1,204.50\n\
                Total (net): EUR 1,204.50\n\
                Please pay within 14 days\n\
                office@adit.example\n\
                Thank you very much!\n";
    (page.png(), text)
}
