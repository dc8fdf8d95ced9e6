//! From a map of how likely each place is text to boxes around the pieces of text.
//!
//! The rules are those of PP-OCR (`DBPostProcess` in PaddleOCR): a piece is what hangs together
//! above a threshold. The model was taught to mark a shrunken core of each piece, so the rectangle
//! of the core is grown again. PP-OCR takes the smallest rectangle at any angle; here it is upright.

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

/// A rectangle on the map. Its sides are where they are among the centres of places, of which the
/// first is 0; they may lie beyond the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MapBox {
    pub(crate) left: f32,
    pub(crate) top: f32,
    pub(crate) right: f32,
    pub(crate) bottom: f32,
}

/// The first and last column and row of a core.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Core {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

/// The boxes of all pieces of text on a map of probabilities, whose rows have `width` places.
pub(crate) fn boxes(map: &[f32], width: usize) -> impl Iterator<Item = MapBox> {
    let kept = move |core: Core| {
        let (across, down) = (core.right - core.left, core.bottom - core.top);
        // Sides have at most some thousand places, which are exact as `f32`.
        let (across, down) = (across as f32, down as f32);
        if across.min(down) < CORE_MIN || score(map, width, core) < SCORE_MIN {
            return None;
        }
        let grown = unclip(core, across, down);
        let side = (grown.right - grown.left).min(grown.bottom - grown.top);
        (side >= SIDE_MIN).then_some(grown)
    };
    cores(map, width).into_iter().filter_map(kept)
}

/// What hangs together above the threshold, also across corners, in the order of first places.
fn cores(map: &[f32], width: usize) -> Vec<Core> {
    let mut cores = Vec::new();
    if width == 0 {
        return cores;
    }
    let height = map.len() / width;
    let mut open: Vec<bool> = map.iter().map(|&value| value > THRESHOLD).collect();
    // Each place is in here at most once, since it is closed on its way in.
    let mut found = Vec::new();
    for start in 0..width * height {
        if !std::mem::replace(&mut open[start], false) {
            continue;
        }
        let (x, y) = (start % width, start / width);
        let mut core = Core {
            left: x,
            top: y,
            right: x,
            bottom: y,
        };
        found.push((x, y));
        while let Some((x, y)) = found.pop() {
            core.left = core.left.min(x);
            core.right = core.right.max(x);
            core.top = core.top.min(y);
            core.bottom = core.bottom.max(y);
            for near_y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                for near_x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                    if std::mem::replace(&mut open[near_y * width + near_x], false) {
                        found.push((near_x, near_y));
                    }
                }
            }
        }
        cores.push(core);
    }
    cores
}

/// The mean probability in the rectangle of a core.
fn score(map: &[f32], width: usize, core: Core) -> f32 {
    let rows = map.chunks(width).take(core.bottom + 1).skip(core.top);
    let values = rows.flat_map(|row| row.iter().take(core.right + 1).skip(core.left));
    let mut count = 0.0_f64;
    let sum: f64 = values
        .inspect(|_| count += 1.0)
        .map(|&value| f64::from(value))
        .sum();
    (sum / count) as f32
}

/// The rectangle of a core that is this long across and down, grown on all sides.
fn unclip(core: Core, across: f32, down: f32) -> MapBox {
    let distance = across * down * UNCLIP_RATIO / (2.0 * (across + down));
    MapBox {
        left: core.left as f32 - distance,
        top: core.top as f32 - distance,
        right: core.right as f32 + distance,
        bottom: core.bottom as f32 + distance,
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

    #[test]
    fn what_touches_even_by_a_corner_is_one_core() {
        let (map, width) = map(&[
            "##....+.", //
            "..#...++", "#..#....", "#......#",
        ]);
        let cores: Vec<_> = cores(&map, width)
            .iter()
            .map(|core| (core.left, core.top, core.right, core.bottom))
            .collect();
        assert_eq!(
            cores,
            [(0, 0, 3, 2), (6, 0, 7, 1), (0, 2, 0, 3), (7, 3, 7, 3)]
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
        assert_eq!(boxes(&map, width).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn what_is_small_or_unsure_is_no_text() {
        let rows = |row: &'static str, count| vec![row; count];
        let count = |rows: Vec<&str>| {
            let (map, width) = map(&rows);
            boxes(&map, width).count()
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
}
