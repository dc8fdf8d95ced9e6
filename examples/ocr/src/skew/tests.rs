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
    // A stroke of 8 pixels that climbs by one for each two, on a page of 8 x 8.
    let mut pixels = [255; 64];
    for x in 0..8 {
        pixels[(6 - x / 2) * 8 + x] = 0;
    }
    let level = Level::new(-0.5, 8);
    assert_eq!(level.height(8), 12);
    let part = Rect {
        left: 0,
        top: 4,
        right: 8,
        bottom: 8,
    };
    let cut = level.cut(&grey(8, &pixels), part);
    // In every second column a pixel lies between two.
    let reds = |y: usize| -> Vec<u8> { cut.row(y).iter().step_by(3).copied().collect() };
    assert_eq!(reds(0), [255; 8]);
    assert_eq!(reds(1), [255; 8]);
    assert_eq!(reds(2), [0, 128, 0, 128, 0, 128, 0, 128]);
    assert_eq!(reds(3), [255, 128, 255, 128, 255, 128, 255, 128]);
    // On the page, it reaches from its right end up to its left end down.
    let expected = Rect {
        left: 0,
        top: 0,
        right: 8,
        bottom: 8,
    };
    assert_eq!(level.around(part, 8, 8), expected);
}

#[test]
fn no_line_is_lost_whichever_way_the_page_lies() {
    // A mark in each corner of the page.
    let mut pixels = [255; 100];
    for at in [0, 9, 90, 99] {
        pixels[at] = 0;
    }
    let page = grey(10, &pixels);
    for slope in [-0.5, -0.1, 0.1, 0.5] {
        let level = Level::new(slope, 10);
        let whole = Rect {
            left: 0,
            top: 0,
            right: 10,
            bottom: level.height(10),
        };
        let cut = level.cut(&page, whole);
        let ink = |y| {
            cut.row(y)
                .iter()
                .map(|value| 255 - u32::from(*value))
                .sum::<u32>()
        };
        let ink: u32 = (0..whole.bottom).map(ink).sum();
        // All three colours of four pixels, but for rounding.
        assert!(ink.abs_diff(4 * 3 * 255) < 24, "{slope}: {ink}");
    }
}
