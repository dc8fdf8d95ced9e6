//! The few shapes that the plots are made of. Colours and fonts are the style sheet's, by class, so
//! that a plot follows the page's light and dark form.

use super::write::Html;

/// Width of every plot, in its own units; on a screen about as many pixels.
pub const WIDTH: f64 = 420.0;

/// Where a text stands relative to its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// Opens a plot of a height, with what it shows in words, for those who cannot see it.
pub fn open(html: &mut Html, height: f64, label: &str) {
    html.raw("<svg viewBox=\"0 0 ")
        .length(WIDTH)
        .raw(" ")
        .length(height)
        .raw("\" role=\"img\" aria-label=\"")
        .text(label)
        .raw("\">\n");
}

/// Closes it.
pub fn close(html: &mut Html) {
    html.raw("</svg>\n");
}

/// A rectangle of a class; with a text that is shown when it is pointed at.
pub fn bar(html: &mut Html, class: &'static str, [x, y, w, h]: [f64; 4], tip: &str) {
    html.raw("<rect class=\"")
        .raw(class)
        .raw("\" x=\"")
        .length(x);
    html.raw("\" y=\"")
        .length(y)
        .raw("\" width=\"")
        .length(w.max(0.0));
    html.raw("\" height=\"")
        .length(h.max(0.0))
        .raw("\"><title>");
    html.text(tip).raw("</title></rect>\n");
}

/// A line of a class.
pub fn line(html: &mut Html, class: &'static str, [x1, y1, x2, y2]: [f64; 4]) {
    html.raw("<line class=\"")
        .raw(class)
        .raw("\" x1=\"")
        .length(x1);
    html.raw("\" y1=\"").length(y1).raw("\" x2=\"").length(x2);
    html.raw("\" y2=\"").length(y2).raw("\"/>\n");
}

/// A disc of a class.
pub fn dot(html: &mut Html, class: &'static str, [x, y, r]: [f64; 3], tip: &str) {
    html.raw("<circle class=\"")
        .raw(class)
        .raw("\" cx=\"")
        .length(x);
    html.raw("\" cy=\"").length(y).raw("\" r=\"").length(r);
    html.raw("\"><title>").text(tip).raw("</title></circle>\n");
}

/// A text of a class.
pub fn label(html: &mut Html, class: &'static str, x: f64, y: f64, anchor: Anchor, text: &str) {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    html.raw("<text class=\"")
        .raw(class)
        .raw("\" x=\"")
        .length(x);
    html.raw("\" y=\"")
        .length(y)
        .raw("\" text-anchor=\"")
        .raw(anchor);
    html.raw("\">").text(text).raw("</text>\n");
}

/// About `count` round numbers from 0 to `max` and a little beyond, ascending.
pub fn ticks(max: f64, count: usize) -> Vec<f64> {
    if !(max.is_finite() && max > 0.0) {
        return vec![0.0, 1.0];
    }
    let rough = max / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    // Steps below one make no sense for what is counted.
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power)
        .max(1.0);
    let last = (max / step).ceil();
    (0..=64)
        .map(|n| f64::from(n) * step)
        .take_while(|tick| *tick <= last * step + step / 2.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_range() {
        assert_eq!(ticks(10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(3.0, 4), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(ticks(1.0, 4), [0.0, 1.0]);
        for max in [7.0, 99.0, 101.0, 12_345.0, 1e15] {
            let ticks = ticks(max, 4);
            assert!((2..=8).contains(&ticks.len()), "{max}: {ticks:?}");
            assert!(ticks.last().is_some_and(|last| *last >= max));
        }
        assert_eq!(ticks(f64::NAN, 4), [0.0, 1.0]);
        assert_eq!(ticks(0.0, 4), [0.0, 1.0]);
    }
}
