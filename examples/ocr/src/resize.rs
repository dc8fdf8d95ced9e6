//! Scaling a page, or what was cut out of one, to the size that a model takes.
//!
//! Each pixel of the result is a mean of those around its place, weighted by a triangle: the
//! bilinear interpolation that PP-OCR uses. Where the result is smaller, the triangle grows with
//! the scale, so that no stroke of a letter falls between two pixels, as it can there.

use crate::page::Page;

/// Which pixels of a row or column make one of the result.
struct Taps {
    first: usize,
    /// They add up to 1.
    weights: Vec<f32>,
}

/// The pixels of a page scaled to `width` x `height`: red, green and blue of each, row by row, in
/// 0..=255. A page without pixels is white.
pub(crate) fn resize(page: &Page, width: usize, height: usize) -> Vec<f32> {
    let mut result = Vec::with_capacity(width * height * 3);
    if page.width() == 0 || page.height() == 0 {
        result.resize(width * height * 3, 255.0);
        return result;
    }
    let columns = taps(page.width(), width);
    // One row that is scaled in height only: of the two directions, this first one reads the page
    // in the order of its memory and keeps nothing else of it.
    let mut row = vec![0.0_f32; page.width() * 3];
    for taps in taps(page.height(), height) {
        row.fill(0.0);
        for (offset, weight) in taps.weights.iter().enumerate() {
            for (sum, &value) in row.iter_mut().zip(page.row(taps.first + offset)) {
                *sum += f32::from(value) * weight;
            }
        }
        let pixels = row.as_chunks::<3>().0;
        for taps in &columns {
            let mut sum = [0.0_f32; 3];
            for (pixel, weight) in pixels.iter().skip(taps.first).zip(&taps.weights) {
                for (sum, value) in sum.iter_mut().zip(pixel) {
                    *sum += value * weight;
                }
            }
            result.extend(sum);
        }
    }
    result
}

/// For each of `outputs` pixels, which of `inputs` pixels in a row make it.
fn taps(inputs: usize, outputs: usize) -> Vec<Taps> {
    let scale = inputs as f32 / outputs as f32;
    // Half the width of the triangle.
    let reach = scale.max(1.0);
    let last = inputs.saturating_sub(1);
    let output = |index: usize| {
        // The centres of pixels are at halves.
        let centre = (index as f32 + 0.5) * scale - 0.5;
        // A cast to `usize` ends at 0.
        let first = ((centre - reach).ceil() as usize).min(last);
        let end = ((centre + reach).floor() as usize).min(last);
        let mut weights: Vec<f32> = (first..=end)
            .map(|input| (1.0 - (input as f32 - centre).abs() / reach).max(0.0))
            .collect();
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Taps { first, weights }
    };
    (0..outputs).map(output).collect()
}

/// Pixels as [`resize`] gives them as the three planes of a tensor, blue first as PP-OCR has it.
/// A row has `stride` values, zeros behind the pixels. Each value is `(value / 255 - mean) / std`;
/// both are given blue first.
pub(crate) fn planes(
    pixels: &[f32],
    width: usize,
    stride: usize,
    mean: [f32; 3],
    std: [f32; 3],
) -> Vec<f32> {
    let pixels = pixels.as_chunks::<3>().0;
    let mut planes = Vec::with_capacity(pixels.len().div_ceil(width.max(1)) * stride * 3);
    for plane in 0..3 {
        let (scale, shift) = (1.0 / (255.0 * std[plane]), mean[plane] / std[plane]);
        for row in pixels.chunks(width.max(1)) {
            planes.extend(row.iter().map(|pixel| pixel[2 - plane] * scale - shift));
            planes.resize(planes.len() + stride.saturating_sub(row.len()), 0.0);
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::grey;

    fn reds(pixels: &[f32]) -> Vec<f32> {
        pixels
            .as_chunks::<3>()
            .0
            .iter()
            .map(|pixel| pixel[0])
            .collect()
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let page = grey(3, &[0, 50, 100, 150, 200, 250]);
        let pixels = resize(&page, 3, 2);
        assert_eq!(reds(&pixels), [0.0, 50.0, 100.0, 150.0, 200.0, 250.0]);
    }

    /// As OpenCV's `INTER_LINEAR` has it: the ends are repeated.
    #[test]
    fn enlarging_interpolates() {
        let page = grey(2, &[0, 100]);
        let pixels = resize(&page, 4, 2);
        let row = [0.0, 25.0, 75.0, 100.0];
        assert_eq!(reds(&pixels), [row, row].concat());
    }

    #[test]
    fn a_thin_stroke_survives_shrinking_wherever_it_is() {
        for at in 0..16 {
            let mut row = [255_u8; 16];
            row[at] = 0;
            let page = grey(16, &row);
            let pixels = reds(&resize(&page, 4, 1));
            let ink: f32 = pixels.iter().map(|value| 255.0 - value).sum();
            // A quarter of the ink of the stroke, since a pixel stands for four of them; somewhat
            // more or less at the ends, where the triangle is cut off.
            assert!((ink - 63.75).abs() < 22.0, "{at}: {pixels:?}");
        }
    }

    #[test]
    fn what_has_no_pixels_is_white() {
        let nothing = resize(&Page::default(), 2, 1);
        assert_eq!(nothing, [255.0; 6]);
    }

    #[test]
    fn planes_are_blue_first_normalised_and_padded() {
        // Two rows of one pixel.
        let pixels = [255.0, 0.0, 127.5, 0.0, 255.0, 127.5];
        let planes = planes(&pixels, 1, 2, [0.5; 3], [0.5; 3]);
        let blue = [0.0, 0.0, 0.0, 0.0];
        let green = [-1.0, 0.0, 1.0, 0.0];
        let red = [1.0, 0.0, -1.0, 0.0];
        assert_eq!(planes, [blue, green, red].concat());
    }
}
