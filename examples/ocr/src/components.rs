//! From a map of how likely each place is text to boxes around the pieces of text.
//!
//! The rules are those of PP-OCR (`DBPostProcess` in PaddleOCR): a piece is what hangs together
//! above a threshold. The model was taught to mark a shrunken core of each piece, so the rectangle
//! of the core is grown again. PP-OCR takes the smallest rectangle at any angle; here it is upright
//! on the map after its lines were made level.

use crate::skew::Level;

/// The probability from which on a place counts as text.
const THRESHOLD: f32 = 0.3;
/// The least mean probability in the rectangle of a core.
const SCORE_MIN: f32 = 0.6;
/// The least height and width of a core, between the centres of its outermost places.
const CORE_MIN: f32 = 3.0;
/// The least height and width of the rectangle that has grown.
const SIDE_MIN: f32 = 5.0;
/// How much the core grows on each side, as a multiple of its area by its perimeter.
const UNCLIP_RATIO: f32 = 1.5;

/// A rectangle on the level map. Its sides are where they are among the centres of places, of which
/// the first is 0; they may lie beyond the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MapBox {
    pub(crate) left: f32,
    pub(crate) top: f32,
    pub(crate) right: f32,
    pub(crate) bottom: f32,
}

/// Places that hang together above the threshold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Core {
    /// The first column.
    pub(crate) left: usize,
    /// The first row.
    pub(crate) top: usize,
    /// The last column.
    pub(crate) right: usize,
    /// All of them, by column and row; at least one.
    pub(crate) places: Vec<(usize, usize)>,
}

/// The box of a core, if it is text, on a map whose rows have `width` places.
pub(crate) fn text_box(core: &Core, map: &[f32], width: usize, level: Level) -> Option<MapBox> {
    // Sides have at most some thousand places, which are exact as `f32`.
    let rows = core
        .places
        .iter()
        .map(|&(x, y)| y as f32 + level.moved(x as f32));
    let (top, bottom) = rows.fold((f32::INFINITY, f32::NEG_INFINITY), |(top, bottom), row| {
        (top.min(row), bottom.max(row))
    });
    let tight = MapBox {
        left: core.left as f32,
        top,
        right: core.right as f32,
        bottom,
    };
    let side = |map_box: &MapBox| {
        let (across, down) = (map_box.right - map_box.left, map_box.bottom - map_box.top);
        across.min(down)
    };
    if side(&tight) < CORE_MIN || score(map, width, core, &tight, level) < SCORE_MIN {
        return None;
    }
    Some(unclip(tight)).filter(|grown| side(grown) >= SIDE_MIN)
}

/// What hangs together above the threshold, also across corners, in the order of first places.
pub(crate) fn cores(map: &[f32], width: usize) -> Vec<Core> {
    let mut cores = Vec::new();
    if width == 0 {
        return cores;
    }
    let height = map.len() / width;
    let mut open: Vec<bool> = map.iter().map(|&value| value > THRESHOLD).collect();
    for start in 0..width * height {
        if !std::mem::replace(&mut open[start], false) {
            continue;
        }
        let (x, y) = (start % width, start / width);
        let mut core = Core {
            left: x,
            top: y,
            right: x,
            places: vec![(x, y)],
        };
        // Each place is among them once, since it is closed on its way in; those from `next` on
        // have neighbours that were not looked at.
        let mut next = 0;
        while let Some(&(x, y)) = core.places.get(next) {
            next += 1;
            core.left = core.left.min(x);
            core.right = core.right.max(x);
            for near_y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                for near_x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                    if std::mem::replace(&mut open[near_y * width + near_x], false) {
                        core.places.push((near_x, near_y));
                    }
                }
            }
        }
        cores.push(core);
    }
    cores
}

/// The mean probability in the rectangle of a core.
fn score(map: &[f32], width: usize, core: &Core, tight: &MapBox, level: Level) -> f32 {
    let last = (map.len() / width).saturating_sub(1);
    let (mut sum, mut count) = (0.0_f64, 0.0_f64);
    for x in core.left..=core.right {
        let moved = level.moved(x as f32);
        // A cast to `usize` ends at 0.
        let (top, bottom) = ((tight.top - moved).round(), (tight.bottom - moved).round());
        for y in top as usize..=(bottom as usize).min(last) {
            sum += f64::from(map[y * width + x]);
            count += 1.0;
        }
    }
    (sum / count) as f32
}

/// A rectangle, grown on all sides.
fn unclip(tight: MapBox) -> MapBox {
    let (across, down) = (tight.right - tight.left, tight.bottom - tight.top);
    let distance = across * down * UNCLIP_RATIO / (2.0 * (across + down));
    MapBox {
        left: tight.left - distance,
        top: tight.top - distance,
        right: tight.right + distance,
        bottom: tight.bottom + distance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map from a drawing: `#` is surely text, `+` just so, `.` is not.
    fn map(rows: &[&str]) -> (Vec<f32>, usize) {
        let value = |byte| match byte {
            b'#' => 0.9,
            b'+' => 0.31,
            _ => 0.1,
        };
        let map = rows.iter().flat_map(|row| row.bytes().map(value)).collect();
        (map, rows[0].len())
    }

    /// The boxes of a map whose lines are level.
    fn boxes(map: &[f32], width: usize) -> Vec<MapBox> {
        let level = Level::new(0.0, width);
        let cores = cores(map, width);
        let boxes = cores
            .iter()
            .filter_map(|core| text_box(core, map, width, level));
        boxes.collect()
    }

    #[test]
    fn what_touches_even_by_a_corner_is_one_core() {
        let (map, width) = map(&[
            "##....+.", //
            "..#...++", "#..#....", "#......#",
        ]);
        let cores: Vec<_> = cores(&map, width)
            .iter()
            .map(|core| (core.left, core.top, core.right, core.places.len()))
            .collect();
        assert_eq!(
            cores,
            [(0, 0, 3, 4), (6, 0, 7, 3), (0, 2, 0, 2), (7, 3, 7, 1)]
        );
    }

    #[test]
    fn a_ring_is_one_core_and_so_is_a_full_map() {
        let (ring, width) = map(&["####", "#..#", "#..#", "####"]);
        assert_eq!(cores(&ring, width).len(), 1);
        assert_eq!(cores(&[1.0; 35], 7).len(), 1);
        assert!(cores(&[0.3; 35], 7).is_empty());
        assert!(cores(&[], 7).is_empty());
        assert!(cores(&[1.0; 3], 0).is_empty());
    }

    #[test]
    fn a_core_grows_by_its_area_to_its_perimeter() {
        let (map, width) = map(&[
            "..............", //
            ".#########....",
            ".#########....",
            ".#########....",
            ".#########....",
            ".#########....",
        ]);
        // 8 across, 4 down: 8 * 4 * 1.5 / 24.
        let expected = MapBox {
            left: -1.0,
            top: -1.0,
            right: 11.0,
            bottom: 7.0,
        };
        assert_eq!(boxes(&map, width), [expected]);
    }

    #[test]
    fn what_is_small_or_unsure_is_no_text() {
        let rows = |row: &'static str, count| vec![row; count];
        let count = |rows: Vec<&str>| {
            let (map, width) = map(&rows);
            boxes(&map, width).len()
        };
        assert_eq!(count(rows("####", 4)), 1);
        assert_eq!(count(rows("####", 3)), 0);
        assert_eq!(count(rows("###", 4)), 0);
        assert_eq!(count(rows("++++++", 6)), 0);
        // Half of the places at 0.9 and half at 0.31 have a mean of 0.605; with 0.1 it is 0.5.
        assert_eq!(count(rows("###+++", 6)), 1);
        let mut ring = rows("#....#", 6);
        (ring[0], ring[5]) = ("######", "######");
        assert_eq!(count(ring), 0);
    }

    #[test]
    fn a_line_that_climbs_has_the_box_of_a_level_one() {
        // 60 places across and 5 down; one place up for each 10.
        let (width, height) = (80, 24);
        let text = |x: usize, y: usize| {
            let top = 16 - x.saturating_sub(10) / 10;
            (10..70).contains(&x) && (top..top + 5).contains(&y)
        };
        let places = (0..width * height).map(|at| text(at % width, at / width));
        let map: Vec<f32> = places.map(|text| if text { 0.9 } else { 0.1 }).collect();
        let cores = cores(&map, width);
        assert_eq!(cores.len(), 1);
        let slanted = text_box(&cores[0], &map, width, Level::new(-0.1, width)).unwrap();
        // 4 down, and somewhat more for the steps.
        let down = slanted.bottom - slanted.top - 2.0 * (10.0 - slanted.left);
        assert!((4.0..5.0).contains(&down), "{down}");
        // Upright, most of the rectangle is paper.
        assert_eq!(
            text_box(&cores[0], &map, width, Level::new(0.0, width)),
            None
        );
    }
}
