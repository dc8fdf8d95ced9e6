//! From the recogniser's answer to text.
//!
//! `characters.txt` has one character on each line: those of the model's second output to its last
//! but one. The first output is the blank of connectionist temporal classification (CTC), the last
//! a space. The list is the entry `character` in the metadata of `ch_PP-OCRv4_rec_infer.onnx`,
//! which is PaddleOCR's `ppocr_keys_v1.txt` (Apache-2.0, as the model); a guest cannot read it
//! there, since it never sees a model's file.

use crate::error::Failure;

/// A text, and how sure the model is of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) text: String,
    /// The mean probability of the characters, 0 to 1.
    pub(crate) confidence: f32,
}

/// The characters that the model can answer with.
pub(crate) struct Characters {
    /// By output; the blank is an empty text.
    outputs: Vec<&'static str>,
}

impl Characters {
    /// Those of `ch_PP-OCRv4_rec_infer.onnx`.
    pub(crate) fn ppocr() -> Self {
        let listed = include_str!("characters.txt").lines();
        let outputs = std::iter::once("").chain(listed).chain([" "]);
        Self {
            outputs: outputs.collect(),
        }
    }

    /// How many outputs the model has.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// The text of an answer, one step of [`Characters::outputs`] probabilities after the other
    /// from left to right. At each step the likeliest output counts, the first of equal ones; one
    /// that is the same as at the step before is the same character still, so a character that is
    /// there twice has a blank in between. Spaces around the text are left out, but count for the
    /// confidence; without any character it is 0.
    ///
    /// # Errors
    ///
    /// [`Failure::NoProbability`], when a probability is not a number.
    pub(crate) fn decode<'a>(
        &self,
        steps: impl Iterator<Item = &'a [f32]>,
    ) -> Result<Reading, Failure> {
        let mut text = String::new();
        let (mut sum, mut count) = (0.0_f32, 0.0_f32);
        let mut before = 0;
        for step in steps {
            let (output, probability) = likeliest(step)?;
            if output != before
                && let Some(character) = self.outputs.get(output)
                && !character.is_empty()
            {
                text.push_str(character);
                sum += probability;
                count += 1.0;
            }
            before = output;
        }
        Ok(Reading {
            text: text.trim().to_string(),
            confidence: sum / count.max(1.0),
        })
    }
}

/// The output with the highest probability, and that.
fn likeliest(step: &[f32]) -> Result<(usize, f32), Failure> {
    let mut best = (0, f32::NEG_INFINITY);
    for (output, &value) in step.iter().enumerate() {
        if !value.is_finite() {
            return Err(Failure::NoProbability {
                model: "rec",
                value,
            });
        }
        if value > best.1 {
            best = (output, value);
        }
    }
    Ok(best)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An answer that says these outputs, each with its probability.
    fn answer(steps: &[(usize, f32)]) -> Result<Reading, Failure> {
        let characters = Characters::ppocr();
        let steps: Vec<Vec<f32>> = steps
            .iter()
            .map(|&(output, probability)| {
                let mut step = vec![0.0; characters.outputs()];
                step[output] = probability;
                step
            })
            .collect();
        characters.decode(steps.iter().map(Vec::as_slice))
    }

    /// The output that stands for a character.
    pub(crate) fn output(character: &str) -> usize {
        let mut outputs = Characters::ppocr().outputs.into_iter();
        outputs.position(|output| output == character).unwrap()
    }

    #[test]
    fn the_list_is_complete() {
        let outputs = Characters::ppocr().outputs;
        assert_eq!(outputs.len(), 6625);
        let characters = &outputs[1..];
        assert!(characters.iter().all(|output| output.chars().count() == 1));
        assert!(
            !characters
                .iter()
                .any(|output| output.chars().any(char::is_control))
        );
        let different: std::collections::BTreeSet<_> = characters.iter().collect();
        assert_eq!(different.len(), 6624);
        // All of ASCII that can be seen.
        assert!((' '..='~').all(|c| characters.contains(&c.to_string().as_str())));
        assert_eq!((output("'"), output("懮"), output(" ")), (1, 6623, 6624));
    }

    #[test]
    fn blanks_part_what_is_there_twice_and_nothing_else_is_doubled() {
        let (l, o) = (output("l"), output("o"));
        let steps = [6624, l, l, 0, l, 0, 0, o, 0, 6624, 6624, o, l, 6624];
        let reading = answer(&steps.map(|output| (output, 1.0))).unwrap();
        assert_eq!(reading.text, "llo ol");
        assert_eq!(reading.confidence, 1.0);
    }

    #[test]
    fn the_confidence_is_the_mean_of_the_characters_first_steps() {
        let (a, b) = (output("a"), output("b"));
        let steps = [(0, 0.9), (a, 0.5), (a, 0.9), (0, 0.1), (b, 0.75), (0, 0.2)];
        let reading = answer(&steps).unwrap();
        assert_eq!((reading.text.as_str(), reading.confidence), ("ab", 0.625));
        let nothing = answer(&[(0, 1.0), (0, 1.0)]).unwrap();
        assert_eq!((nothing.text.as_str(), nothing.confidence), ("", 0.0));
        assert_eq!(answer(&[]).unwrap().confidence, 0.0);
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for value in [f32::NAN, f32::INFINITY] {
            let failure = answer(&[(1, 0.5), (7, value)]).unwrap_err();
            assert!(matches!(
                failure,
                Failure::NoProbability { model: "rec", .. }
            ));
        }
    }
}
