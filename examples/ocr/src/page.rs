//! The image of a page, as its pixels.

/// A rectangle of a page, in pixels; `right` and `bottom` are exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rect {
    /// The first column.
    pub(crate) left: usize,
    /// The first row.
    pub(crate) top: usize,
    /// The column behind the last.
    pub(crate) right: usize,
    /// The row behind the last.
    pub(crate) bottom: usize,
}

impl Rect {
    /// How many columns there are.
    pub(crate) fn width(&self) -> usize {
        self.right.saturating_sub(self.left)
    }

    /// How many rows there are.
    pub(crate) fn height(&self) -> usize {
        self.bottom.saturating_sub(self.top)
    }
}

/// The pixels of a page.
#[derive(Default)]
pub(crate) struct Page {
    width: usize,
    height: usize,
    /// Red, green and blue of each pixel, row by row.
    rgb: Vec<u8>,
}

impl Page {
    /// A page of `channels` bytes for each pixel: grey, grey and alpha, RGB or RGBA.
    /// What is transparent shows white paper. `None`, when there are more or fewer bytes.
    pub(crate) fn new(width: usize, height: usize, channels: usize, data: Vec<u8>) -> Option<Self> {
        if channels == 0 || data.len() != width * height * channels {
            return None;
        }
        let rgb = match channels {
            1 => data.into_iter().flat_map(|grey| [grey; 3]).collect(),
            2 => {
                let pixels = data.as_chunks::<2>().0;
                pixels
                    .iter()
                    .flat_map(|&[g, a]| [on_white(g, a); 3])
                    .collect()
            }
            3 => data,
            4 => {
                let pixels = data.as_chunks::<4>().0.iter();
                pixels
                    .flat_map(|&[r, g, b, a]| [r, g, b].map(|value| on_white(value, a)))
                    .collect()
            }
            _ => return None,
        };
        Some(Self { width, height, rgb })
    }

    /// Pixels in a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub(crate) fn height(&self) -> usize {
        self.height
    }

    /// Red, green and blue of the pixels of one row. Empty where the page has no such row.
    pub(crate) fn row(&self, y: usize) -> &[u8] {
        // Bounded by the pixels of an image, so none of this overflows.
        let start = y.min(self.height) * self.width * 3;
        let end = start + self.width * 3;
        self.rgb.get(start..end).unwrap_or_default()
    }

    /// Red, green and blue of one pixel. White where the page has no such pixel.
    pub(crate) fn pixel(&self, x: usize, y: isize) -> [u8; 3] {
        let row = usize::try_from(y).map_or(&[][..], |y| self.row(y));
        row.as_chunks().0.get(x).copied().unwrap_or([255; 3])
    }
}

/// A colour of this opacity in front of white.
fn on_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    let mixed = (value * alpha + 255 * (255 - alpha) + 127) / 255;
    // A mean of two bytes is one.
    mixed as u8
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A page of grey pixels in rows of `width`.
    pub(crate) fn grey(width: usize, pixels: &[u8]) -> Page {
        Page::new(width, pixels.len() / width, 1, pixels.to_vec()).unwrap()
    }

    #[test]
    fn every_kind_of_pixel_becomes_rgb_on_white_paper() {
        let row = |channels, data: &[u8]| {
            let page = Page::new(2, 1, channels, data.to_vec()).unwrap();
            page.row(0).to_vec()
        };
        assert_eq!(row(1, &[7, 9]), [7, 7, 7, 9, 9, 9]);
        assert_eq!(row(2, &[0, 0, 0, 255]), [255, 255, 255, 0, 0, 0]);
        assert_eq!(row(3, &[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
        let half = [0, 100, 255, 128, 1, 2, 3, 255];
        assert_eq!(row(4, &half), [127, 177, 255, 1, 2, 3]);
        assert!(Page::new(2, 1, 3, vec![0; 5]).is_none());
        assert!(Page::new(2, 1, 5, vec![0; 10]).is_none());
        assert!(Page::new(0, 0, 0, vec![]).is_none());
    }

    #[test]
    fn around_a_page_is_white() {
        let page = grey(2, &[1, 2, 3, 4]);
        assert_eq!(page.row(1), [3, 3, 3, 4, 4, 4]);
        assert_eq!(page.row(2), [0_u8; 0]);
        assert_eq!(page.pixel(1, 0), [2; 3]);
        for (x, y) in [
            (2, 0),
            (0, 2),
            (0, -1),
            (1, isize::MIN),
            (usize::MAX, isize::MAX),
        ] {
            assert_eq!(page.pixel(x, y), [255; 3], "{x} {y}");
        }
    }
}
