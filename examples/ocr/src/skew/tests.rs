//! Lines that run askew, and pages made level.

use super::*;
use crate::components::cores;
use crate::page::tests::grey;

/// Lines of text, each 80 places across and 6 down, that go down by `slope`.
fn lines(slope: f32) -> Vec<f32> {
    let text = |x: usize, y: usize| {
        let row = y as f32 - slope * x as f32 + 20.0;
        (5..85).contains(&x) && (row.round() as i32).rem_euclid(20) < 6
    };
    let places = (0..100 * 100).map(|at| text(at % 100, at / 100));
    places.map(|text| if text { 0.9 } else { 0.0 }).collect()
}

#[test]
fn the_slope_of_most_lines_is_that_of_the_page() {
    for expected in [-0.1_f32, -0.04, 0.03, 0.12] {
        let slope = slope(&cores(&lines(expected), 100), 100);
        assert!((slope - expected).abs() < 0.005, "{slope} for {expected}");
    }
    // Too little to matter, too much to be a page, and nothing that would tell.
    for level in [0.0, 0.01, 0.3] {
        assert_eq!(slope(&cores(&lines(level), 100), 100), 0.0, "{level}");
    }
    assert_eq!(slope(&cores(&[1.0; 100 * 100], 100), 100), 0.0);
    assert_eq!(slope(&[], 100), 0.0);
}

#[test]
fn a_level_page_stays_as_it_is() {
    let level = Level::new(0.0, 3);
    let page = grey(3, &[1, 2, 3, 4, 5, 6]);
    let part = Rect {
        left: 1,
        top: 0,
        right: 3,
        bottom: 2,
    };
    let cut = level.cut(&page, part);
    assert_eq!(cut.row(0), [2, 2, 2, 3, 3, 3]);
    assert_eq!(cut.row(1), [5, 5, 5, 6, 6, 6]);
    assert_eq!((level.height(2), level.around(part, 3, 2)), (2, part));
}

#[test]
fn a_line_that_runs_askew_is_cut_out_level() {
    // One pixel down for two to the right, and the other way.
    for (slope, rows) in [(0.5, [0, 1, 2, 3]), (-0.5, [3, 2, 1, 0])] {
        let mut pixels = [255; 7 * 4];
        for (step, row) in rows.iter().enumerate() {
            pixels[row * 7 + 2 * step] = 0;
        }
        let page = grey(7, &pixels);
        let level = Level::new(slope, 7);
        assert_eq!(level.height(4), 8);
        let whole = Rect {
            left: 0,
            top: 0,
            right: 7,
            bottom: 8,
        };
        let cut = level.cut(&page, whole);
        let dark = |y: usize| cut.row(y).iter().filter(|value| **value == 0).count();
        // Where it began at the left edge, moved down by 3.5 or not at all: half of the ink is in
        // each of two rows, or all of it in one.
        let inks: Vec<usize> = (0..8).map(dark).collect();
        let place = level.around(whole, 7, 4);
        assert_eq!((place.top, place.bottom), (0, 4));
        assert_eq!(
            inks.iter().sum::<usize>(),
            if slope < 0.0 { 12 } else { 0 },
            "{inks:?}"
        );
    }
}
