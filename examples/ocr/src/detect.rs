//! The first model: where on a page there is text.

use adit_sdk::{Error, Model, Session, Tensor};

use crate::components::{self, MapBox};
use crate::error::Failure;
use crate::page::{Page, Rect};
use crate::resize;
use crate::skew::{self, Level};

/// The longer side of what the model sees of a page, in pixels.
pub(crate) const SIDE_MAX: usize = 960;
/// The most pieces of text on a page.
pub(crate) const BOXES_MAX: usize = 2_000;

/// The model halves its input five times, so both sides are multiples of this.
const SIDE_STEP: usize = 32;
/// What PP-OCR's detector was taught with, in the order blue, green, red that its images have.
/// (They are ImageNet's values for red, green and blue; PaddleOCR applies them so.)
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];
/// Boxes with no more pixels than this on a side are no text.
const BOX_SIDE_MIN: usize = 3;

/// Where there is text on a page.
pub(crate) struct Found {
    /// How the page is to be seen for its lines to be level.
    pub(crate) level: Level,
    /// The pieces of text on the level page, in no order that would mean anything.
    pub(crate) places: Vec<Rect>,
}

/// The detector, ready for pages.
///
/// The model's input is `x` f32[1, 3, h, w]; its output `sigmoid_0.tmp_0` f32[1, 1, h, w] has a
/// probability for each pixel.
pub(crate) struct Detector {
    session: Session,
}

impl Detector {
    /// Prepares the model `det`.
    ///
    /// # Errors
    ///
    /// [`Error::INFERENCE`], when there is no such model or the host has no room for it.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            session: Model::named("det")?.session()?,
        })
    }

    /// Finds the text on a page.
    ///
    /// # Errors
    ///
    /// [`Error::INFERENCE`], when inference fails or answers in another shape; the code of
    /// [`Failure::NoProbability`] or [`Failure::TooManyBoxes`].
    pub(crate) fn find(&self, page: &Page) -> Result<Found, Error> {
        let (width, height) = map_size(page.width(), page.height());
        let pixels = resize::resize(page, width, height);
        let planes = resize::planes(&pixels, width, width, MEAN, STD);
        let x = Tensor::new(&[1, 3, height, width], planes)?;
        let map = self
            .session
            .run(&[("x", &x)])?
            .get::<f32>("sigmoid_0.tmp_0")?
            .with_shape(&[Some(1), Some(1), Some(height), Some(width)])?
            .into_data();
        if let Some(&value) = map.iter().find(|value| !value.is_finite()) {
            return Err(Failure::NoProbability {
                model: "det",
                value,
            }
            .into());
        }
        let cores = components::cores(&map, width);
        let slope = skew::slope(&cores, width);
        // The page may be scaled differently across and down.
        let (across, down) = (
            page.width() as f32 / width as f32,
            page.height() as f32 / height as f32,
        );
        let level = Level::new(slope * down / across, page.width());
        let mut places = Vec::new();
        for core in &cores {
            let map_box = components::text_box(core, &map, width, Level::new(slope, width));
            let Some(map_box) = map_box else {
                continue;
            };
            let place = on_page(
                map_box,
                across,
                down,
                page.width(),
                level.height(page.height()),
            );
            if place.width() <= BOX_SIDE_MIN || place.height() <= BOX_SIDE_MIN {
                continue;
            }
            if places.len() == BOXES_MAX {
                return Err(Failure::TooManyBoxes.into());
            }
            places.push(place);
        }
        Ok(Found { level, places })
    }
}

/// The size in which the model sees a page: not enlarged but to whole steps, and its longer side
/// at most [`SIDE_MAX`].
fn map_size(width: usize, height: usize) -> (usize, usize) {
    let longer = width.max(height).max(1);
    let side = |length: usize| {
        let scaled = match longer > SIDE_MAX {
            true => length * SIDE_MAX / longer,
            false => length,
        };
        // To the nearest step.
        ((scaled + SIDE_STEP / 2) / SIDE_STEP * SIDE_STEP).max(SIDE_STEP)
    };
    (side(width), side(height))
}

/// A box on a map, each place of which is so many pixels across and down, in pixels of a page of
/// `width` x `height`.
fn on_page(map_box: MapBox, across: f32, down: f32, width: usize, height: usize) -> Rect {
    // A cast to `usize` ends at 0.
    let scaled = |at: f32, by: f32, end: usize| ((at * by).round() as usize).min(end);
    Rect {
        left: scaled(map_box.left, across, width),
        top: scaled(map_box.top, down, height),
        right: scaled(map_box.right, across, width),
        bottom: scaled(map_box.bottom, down, height),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_sees_whole_steps_of_at_most_960_pixels() {
        for (page, map) in [
            ((2480, 3508), (672, 960)),
            ((960, 960), (960, 960)),
            ((640, 333), (640, 320)),
            ((10_000, 1), (960, 32)),
            ((959, 47), (960, 32)),
            ((1, 1), (32, 32)),
        ] {
            assert_eq!(map_size(page.0, page.1), map, "{page:?}");
        }
    }

    #[test]
    fn boxes_are_scaled_to_the_page_and_end_at_its_edges() {
        let map_box = MapBox {
            left: -3.5,
            top: 4.0,
            right: 40.2,
            bottom: 33.0,
        };
        let expected = Rect {
            left: 0,
            top: 6,
            right: 80,
            bottom: 48,
        };
        assert_eq!(on_page(map_box, 2.0, 1.5, 80, 48), expected);
    }
}
