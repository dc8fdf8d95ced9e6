//! How magika's answer is read.
//!
//! The rule is that of google/magika, `rust/lib/src/file.rs`, in its high-confidence mode: the
//! label with the highest score counts if its score reaches the label's threshold, else the file
//! is only said to be text or not; and two labels of the model are reported under another name.

use std::collections::HashMap;

use adit_sdk::{Error, Result};

/// One kind of file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// Its name, such as `png`.
    pub name: &'static str,
    /// The least score with which the model is believed.
    pub threshold: f32,
    /// The label that is reported in its place.
    pub replaced_by: Option<&'static str>,
    /// Whether files of this kind are text.
    pub is_text: bool,
    /// What it belongs to, such as `image`.
    pub group: &'static str,
    /// Its media type.
    pub mime: &'static str,
    /// Its name for people.
    pub description: &'static str,
}

/// What a file was found to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// What is reported.
    pub label: Label,
    /// What the model said, when it was asked.
    pub model_label: Option<&'static str>,
    /// The model's score, 0 to 1; 1 where a rule decided.
    pub score: f32,
}

/// The labels of a model.
pub struct Labels {
    /// In the order of the model's outputs.
    outputs: Vec<Label>,
    by_name: HashMap<&'static str, Label>,
}

impl Labels {
    /// Those of magika's model `standard_v3_3`, from `labels.txt`.
    ///
    /// # Errors
    ///
    /// When the file, which is part of the program, is damaged; a test shows that it is not.
    pub fn magika() -> Result<Self> {
        let mut labels = Self {
            outputs: Vec::new(),
            by_name: HashMap::new(),
        };
        let lines = include_str!("labels.txt").lines();
        for line in lines.filter(|line| !line.starts_with('#')) {
            let fields: Vec<&'static str> = line.split('\t').collect();
            let &[
                output,
                name,
                threshold,
                replaced_by,
                kind,
                group,
                mime,
                description,
            ] = fields.as_slice()
            else {
                return Err(format!("labels.txt: {line:?} does not have 8 fields").into());
            };
            let label = Label {
                name,
                threshold: threshold.parse()?,
                replaced_by: (replaced_by != "-").then_some(replaced_by),
                is_text: kind == "text",
                group,
                mime,
                description,
            };
            if output != "-" {
                if output.parse() != Ok(labels.outputs.len()) {
                    return Err(format!("labels.txt: output {output} is out of order").into());
                }
                labels.outputs.push(label);
            }
            labels.by_name.insert(name, label);
        }
        Ok(labels)
    }

    /// How many outputs the model has.
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// What a rule decided.
    ///
    /// # Errors
    ///
    /// When there is no such label.
    pub fn ruled(&self, name: &str) -> Result<Verdict> {
        Ok(Verdict {
            label: self.named(name)?,
            model_label: None,
            score: 1.0,
        })
    }

    /// What the model's scores for one file mean, one score for each output.
    ///
    /// # Errors
    ///
    /// `Error::INFERENCE`, when they are not as many as the outputs, or not numbers.
    pub fn judge(&self, scores: &[f32]) -> Result<Verdict> {
        if scores.len() != self.outputs.len() || scores.iter().any(|score| !score.is_finite()) {
            return Err(Error::new(
                Error::INFERENCE,
                format!(
                    "model `magika` did not answer with {} scores; hint: is it magika's \
                     model standard_v3_3?",
                    self.outputs.len()
                ),
            ));
        }
        // The first of equal scores, as in upstream's Python.
        let best = self
            .outputs
            .iter()
            .zip(scores)
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((best, &score)) = best else {
            return Err("labels.txt: no outputs".into());
        };
        let reported = self.named(best.replaced_by.unwrap_or(best.name))?;
        let label = if score >= best.threshold {
            reported
        } else if reported.is_text {
            self.named("txt")?
        } else {
            self.named("unknown")?
        };
        Ok(Verdict {
            label,
            model_label: Some(best.name),
            score,
        })
    }

    fn named(&self, name: &str) -> Result<Label> {
        self.by_name
            .get(name)
            .copied()
            .ok_or_else(|| format!("labels.txt: no label is called {name}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(labels: &Labels, of: &[(&str, f32)]) -> Vec<f32> {
        let score = |label: &Label| {
            let given = of.iter().find(|(name, _)| *name == label.name);
            given.map_or(0.0, |(_, score)| *score)
        };
        labels.outputs.iter().map(score).collect()
    }

    fn judge(of: &[(&str, f32)]) -> (&'static str, Option<&'static str>) {
        let labels = Labels::magika().unwrap();
        let verdict = labels.judge(&scores(&labels, of)).unwrap();
        (verdict.label.name, verdict.model_label)
    }

    #[test]
    fn the_data_file_is_complete() {
        let labels = Labels::magika().unwrap();
        assert_eq!(labels.outputs(), 214);
        for name in ["empty", "txt", "unknown"] {
            assert_eq!(labels.ruled(name).unwrap().label.name, name);
        }
        for label in &labels.outputs {
            assert!((0.5..=0.95).contains(&label.threshold), "{label:?}");
            assert!(
                label
                    .replaced_by
                    .is_none_or(|name| labels.named(name).is_ok())
            );
        }
    }

    #[test]
    fn a_score_counts_from_its_labels_threshold_on() {
        assert_eq!(judge(&[("png", 0.5)]), ("png", Some("png")));
        assert_eq!(judge(&[("png", 0.49)]), ("unknown", Some("png")));
        assert_eq!(judge(&[("markdown", 0.75)]), ("markdown", Some("markdown")));
        assert_eq!(judge(&[("markdown", 0.74)]), ("txt", Some("markdown")));
    }

    #[test]
    fn two_labels_are_reported_under_another_name() {
        assert_eq!(judge(&[("randomtxt", 0.9)]), ("txt", Some("randomtxt")));
        let bytes = [("randombytes", 0.9), ("png", 0.1)];
        assert_eq!(judge(&bytes), ("unknown", Some("randombytes")));
    }

    #[test]
    fn an_answer_of_another_model_is_refused() {
        let labels = Labels::magika().unwrap();
        assert_eq!(labels.judge(&[0.5; 7]).unwrap_err().code, Error::INFERENCE);
        let scores = scores(&labels, &[("png", f32::NAN)]);
        assert_eq!(labels.judge(&scores).unwrap_err().code, Error::INFERENCE);
    }
}
