//! The second model: what a piece of text says.

use adit_sdk::{Error, Model, Session, Tensor};

use crate::characters::{Characters, Reading};
use crate::page::Page;
use crate::resize;

/// The height in which the model sees a piece of text.
const HEIGHT: usize = 48;
/// The least width that the model is given: the one it was taught with.
const WIDTH_MIN: usize = 320;
/// The greatest: some 200 characters. What is longer in proportion is squeezed into it.
const WIDTH_MAX: usize = 4_096;
/// Widths are whole multiples of this, so that many inferences have the same shape and a host can
/// keep what it prepares for one.
const WIDTH_STEP: usize = 32;
/// As grey as between black and white becomes 0: what is added on the right is 0 too.
const MEAN: [f32; 3] = [0.5; 3];
const STD: [f32; 3] = [0.5; 3];
/// What is read with less confidence is no text.
const CONFIDENCE_MIN: f32 = 0.5;

/// The recogniser, ready for pieces of text.
///
/// The model's input is `x` f32[1, 3, 48, w]; its output `softmax_11.tmp_0` f32[1, t, 6625] has
/// the probability of each character for each step from left to right.
pub(crate) struct Recogniser {
    session: Session,
    characters: Characters,
}

impl Recogniser {
    /// Prepares the model `rec`.
    ///
    /// # Errors
    ///
    /// [`Error::INFERENCE`], when there is no such model or the host has no room for it.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            session: Model::named("rec")?.session()?,
            characters: Characters::ppocr(),
        })
    }

    /// What a piece that was cut out of a page says, or `None` if the model sees no text there.
    ///
    /// # Errors
    ///
    /// [`Error::INFERENCE`], when inference fails or answers in another shape; the code of
    /// `Failure::NoProbability`, when an answer is not a number.
    pub(crate) fn read(&self, piece: &Page) -> Result<Option<Reading>, Error> {
        let (width, padded) = widths(piece.width(), piece.height());
        let pixels = resize::resize(piece, width, HEIGHT);
        let planes = resize::planes(&pixels, width, padded, MEAN, STD);
        let x = Tensor::new(&[1, 3, HEIGHT, padded], planes)?;
        let steps = self
            .session
            .run(&[("x", &x)])?
            .get::<f32>("softmax_11.tmp_0")?
            .with_shape(&[Some(1), None, Some(self.characters.outputs())])?;
        let reading = self.characters.decode(steps.rows())?;
        let is_text = reading.confidence >= CONFIDENCE_MIN && !reading.text.is_empty();
        Ok(is_text.then_some(reading))
    }
}

/// How wide the model sees a piece, and how wide with what is added on the right.
fn widths(width: usize, height: usize) -> (usize, usize) {
    let width = (HEIGHT * width).div_ceil(height.max(1));
    let width = width.clamp(1, WIDTH_MAX);
    (width, width.max(WIDTH_MIN).next_multiple_of(WIDTH_STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_keep_the_proportions_up_to_a_bound_and_shapes_repeat() {
        assert_eq!(widths(100, 24), (200, 320));
        assert_eq!(widths(160, 24), (320, 320));
        assert_eq!(widths(161, 24), (322, 352));
        assert_eq!(widths(333, 20), (800, 800));
        assert_eq!(widths(1, 500), (1, 320));
        assert_eq!(widths(10_000, 4), (4096, 4096));
        assert_eq!(widths(0, 0), (1, 320));
    }
}
