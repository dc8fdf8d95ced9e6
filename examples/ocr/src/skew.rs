//! How far the lines of a page are from level, and how to see the page as if they were.
//!
//! A page never lies quite straight on a scanner. Half a degree is enough for an upright rectangle
//! around a line of an A4 page to hold parts of its neighbours. So the columns of the page are
//! moved up and down until lines are level: for small angles the same as turning the page, and
//! rectangles stay upright.

use crate::components::Core;
use crate::page::{Page, Rect};

/// How many times as wide as thick a core must be to tell how a line runs.
const ASPECT_MIN: f32 = 5.0;
/// The greatest slope that is taken for a page lying askew: about eight degrees.
const SLOPE_MAX: f32 = 0.15;
/// Over the whole width, lines that stray by fewer places than this count as level.
const DRIFT_MIN: f32 = 2.0;

/// How many places the lines go down for each place to the right: the median of all cores that
/// tell, each counted by its size. 0, if none does or lines are level but for the breadth of
/// `width` places.
pub(crate) fn slope(cores: &[Core], width: usize) -> f32 {
    let mut slopes: Vec<(f32, usize)> = cores
        .iter()
        .filter_map(|core| Some((core_slope(core)?, core.places.len())))
        .filter(|(slope, _)| slope.abs() <= SLOPE_MAX)
        .collect();
    slopes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: usize = slopes.iter().map(|(_, size)| size).sum();
    let mut passed = 0;
    let median = slopes.iter().find(|(_, size)| {
        passed += size;
        2 * passed >= total
    });
    let slope = median.map_or(0.0, |(slope, _)| *slope);
    // Sides have at most some thousand places, which are exact as `f32`.
    match slope.abs() * width as f32 >= DRIFT_MIN {
        true => slope,
        false => 0.0,
    }
}

/// The slope of the straight line that is nearest to the places of a core, if it is long enough.
fn core_slope(core: &Core) -> Option<f32> {
    let count = core.places.len() as f32;
    let across = (core.right - core.left + 1) as f32;
    if across * across < ASPECT_MIN * count {
        return None;
    }
    // From the core's corner on, so that the sums stay small.
    let centred = |x: usize, y: usize| ((x - core.left) as f64, (y - core.top) as f64);
    let (mut sum_x, mut sum_y) = (0.0, 0.0);
    for &(x, y) in &core.places {
        let (x, y) = centred(x, y);
        sum_x += x;
        sum_y += y;
    }
    let (mean_x, mean_y) = (sum_x / f64::from(count), sum_y / f64::from(count));
    let (mut spread, mut rise) = (0.0, 0.0);
    for &(x, y) in &core.places {
        let (x, y) = centred(x, y);
        spread += (x - mean_x) * (x - mean_x);
        rise += (x - mean_x) * (y - mean_y);
    }
    (spread > 0.0).then(|| (rise / spread) as f32)
}

/// A page or map whose lines are level. Its rows are counted so that none is below 0: it is
/// higher than what it was made of, with nothing in two of its corners.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level {
    slope: f32,
    /// How far down the column 0 was moved.
    shift: f32,
    /// How much higher it is.
    rise: f32,
}

impl Level {
    /// Of `width` columns whose lines go down by `slope` for each.
    pub(crate) fn new(slope: f32, width: usize) -> Self {
        Self {
            slope,
            shift: (slope * width as f32).max(0.0),
            rise: slope.abs() * width as f32,
        }
    }

    /// How far down the column `x` was moved.
    pub(crate) fn moved(&self, x: f32) -> f32 {
        self.shift - self.slope * x
    }

    /// How high it is, made of something of this height.
    pub(crate) fn height(&self, height: usize) -> usize {
        height + self.rise.ceil() as usize
    }

    /// A part of the level page, cut out. Where it reaches beyond the page, it is white.
    pub(crate) fn cut(&self, page: &Page, part: Rect) -> Page {
        let mut rgb = vec![255; part.width() * part.height() * 3];
        let rows = rgb.chunks_exact_mut((part.width() * 3).max(1));
        for (row, y) in rows.zip(part.top..) {
            let pixels = row.as_chunks_mut::<3>().0;
            for (pixel, x) in pixels.iter_mut().zip(part.left..) {
                let from = y as f32 - self.moved(x as f32);
                let above = from.floor();
                let share = from - above;
                let (upper, lower) = (
                    page.pixel(x, above as isize),
                    page.pixel(x, above as isize + 1),
                );
                for ((value, upper), lower) in pixel.iter_mut().zip(upper).zip(lower) {
                    let mixed = f32::from(upper) * (1.0 - share) + f32::from(lower) * share;
                    // A mean of two bytes is one.
                    *value = mixed.round() as u8;
                }
            }
        }
        Page::new(part.width(), part.height(), 3, rgb).unwrap_or_default()
    }

    /// The upright rectangle around a part of the level page, on the page of `width` x `height`.
    pub(crate) fn around(&self, part: Rect, width: usize, height: usize) -> Rect {
        let (left, right) = (self.moved(part.left as f32), self.moved(part.right as f32));
        // A cast to `usize` ends at 0.
        let row = |y: f32| (y.round() as usize).min(height);
        Rect {
            left: part.left.min(width),
            top: row(part.top as f32 - left.max(right)),
            right: part.right.min(width),
            bottom: row(part.bottom as f32 - left.min(right)),
        }
    }
}

#[cfg(test)]
mod tests;
