//! Token ids to a vector of length 1.

use adit_sdk::{Error, Model, Result, Session, Tensor};

/// The length of the model's hidden states, and so of a sentence's vector.
pub const DIMENSIONS: usize = 384;

/// A sentence encoder, ready for inference.
pub struct Encoder {
    session: Session,
}

impl Encoder {
    /// The model that the run lists as `minilm`: input_ids, attention_mask and token_type_ids,
    /// each i64[b, s], to last_hidden_state f32[b, s, 384].
    ///
    /// # Errors
    ///
    /// `Error::INFERENCE`, when there is none.
    pub fn minilm() -> Result<Self> {
        let session = Model::named("minilm")?.session()?;
        Ok(Self { session })
    }

    /// The vector of one sentence.
    ///
    /// # Errors
    ///
    /// `Error::INFERENCE`, when the model does not answer as MiniLM does.
    pub fn embed(&self, ids: &[i64]) -> Result<Vec<f32>> {
        let dims = [1, ids.len()];
        let mask = vec![1_i64; ids.len()];
        let input_ids = Tensor::new(&dims, ids.to_vec())?;
        let attention_mask = Tensor::new(&dims, mask.clone())?;
        let token_type_ids = Tensor::new(&dims, vec![0_i64; ids.len()])?;
        let outputs = self.session.run(&[
            ("input_ids", &input_ids),
            ("attention_mask", &attention_mask),
            ("token_type_ids", &token_type_ids),
        ])?;
        let states = outputs.get::<f32>("last_hidden_state")?.with_shape(&[
            Some(1),
            Some(ids.len()),
            Some(DIMENSIONS),
        ])?;
        normalise(mean(&states, &mask))
    }
}

/// The mean of the hidden states, f32[1, s, n], of those tokens whose mask is 1.
fn mean(states: &Tensor<f32>, mask: &[i64]) -> Vec<f32> {
    let mut sum = vec![0.0_f32; DIMENSIONS];
    let mut count = 0.0_f32;
    for (state, &mask) in states.rows().zip(mask) {
        if mask == 1 {
            count += 1.0;
            for (sum, value) in sum.iter_mut().zip(state) {
                *sum += value;
            }
        }
    }
    let count = count.max(1.0);
    sum.iter_mut().for_each(|value| *value /= count);
    sum
}

/// The vector scaled to length 1.
fn normalise(mut vector: Vec<f32>) -> Result<Vec<f32>> {
    let length = dot(&vector, &vector).sqrt();
    if !length.is_finite() || length <= f32::MIN_POSITIVE {
        return Err(Error::new(
            Error::INFERENCE,
            "model `minilm` answered with a vector that has no direction; hint: is it the right model?",
        ));
    }
    vector.iter_mut().for_each(|value| *value /= length);
    Ok(vector)
}

/// The product of two vectors: of two that have length 1, the cosine of their angle.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_tokens_do_not_count() {
        let mut data = vec![1.0_f32; 3 * DIMENSIONS];
        data[DIMENSIONS..2 * DIMENSIONS].fill(3.0);
        data[2 * DIMENSIONS..].fill(100.0);
        let states = Tensor::new(&[1, 3, DIMENSIONS], data).unwrap();
        let vector = mean(&states, &[1, 1, 0]);
        assert!(vector.iter().all(|&value| value == 2.0));
        assert!(mean(&states, &[0, 0, 0]).iter().all(|&value| value == 0.0));
    }

    #[test]
    fn a_vector_without_direction_is_refused() {
        assert_eq!(normalise(vec![3.0, 4.0]), Ok(vec![0.6, 0.8]));
        assert!(normalise(vec![0.0; 4]).is_err());
        assert!(normalise(vec![f32::NAN, 1.0]).is_err());
        assert!(normalise(vec![f32::MAX, f32::MAX]).is_err());
    }
}
