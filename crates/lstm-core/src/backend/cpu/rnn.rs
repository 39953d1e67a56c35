//! The plain tanh recurrence over a whole sequence, and back.

use super::math::tanh;
use super::simd::{Simd, for_instruction_sets};
use super::{Matrix, Sizes, multiply, on_threads, recurrent_gradient, rows_of, shares, transpose};

/// What the recurrence reads; all row-major.
#[derive(Clone, Copy)]
pub(crate) struct Rnn<'a> {
    pub sizes: Sizes,
    /// `x W + b`, `[B, T, H]`
    pub projected: &'a [f32],
    /// `R`, `[H, H]`
    pub recurrent: &'a [f32],
    /// `h_0`, `[B, H]`
    pub hidden: &'a [f32],
}

/// The gradients of a loss.
pub(crate) struct Gradients {
    /// `[B, T, H]`
    pub projected: Vec<f32>,
    /// `[H, H]`
    pub recurrent: Vec<f32>,
    /// `[B, H]`
    pub hidden: Vec<f32>,
}

impl Rnn<'_> {
    /// The hidden states of all steps, `[B, T, H]`, aligned with the input.
    pub fn forward(self) -> Vec<f32> {
        let Sizes {
            batch,
            time,
            hidden,
            ..
        } = self.sizes;
        let mut output = vec![0.0; batch * time * hidden];
        let threads = self.sizes.rows_of_threads();
        let simd = Simd::best();
        let work = shares(&mut output, time * hidden, &threads)
            .into_iter()
            .zip(&threads)
            .collect();
        on_threads(work, |(output, rows)| {
            let projected = rows_of(self.projected, time * hidden, rows);
            let recurrent = Matrix::new(self.recurrent, hidden, hidden);
            let mut h = rows_of(self.hidden, hidden, rows).to_vec();
            let mut sums = vec![0.0; h.len()];
            for k in 0..time {
                let t = self.sizes.step(k);
                for (row, sums) in sums.chunks_exact_mut(hidden).enumerate() {
                    sums.copy_from_slice(&projected[(row * time + t) * hidden..][..hidden]);
                }
                multiply(
                    &mut sums,
                    true,
                    Matrix::new(&h, rows.len(), hidden),
                    recurrent,
                );
                activate(simd, &sums, &mut h);
                for (row, h) in h.chunks_exact(hidden).enumerate() {
                    output[(row * time + t) * hidden..][..hidden].copy_from_slice(h);
                }
            }
        });
        output
    }

    /// Backpropagation through time: from `upstream`, the gradient of the output.
    pub fn backward(self, upstream: &[f32], output: &[f32]) -> Gradients {
        let Sizes {
            batch,
            time,
            hidden,
            ..
        } = self.sizes;
        let mut projected = vec![0.0; batch * time * hidden];
        let mut hidden0 = vec![0.0; batch * hidden];
        let transposed = transpose(self.recurrent, hidden, hidden);
        let threads = self.sizes.rows_of_threads();
        let simd = Simd::best();
        let work = shares(&mut projected, time * hidden, &threads)
            .into_iter()
            .zip(shares(&mut hidden0, hidden, &threads))
            .zip(&threads)
            .collect();
        on_threads(work, |((projected, dh), rows)| {
            let upstream = rows_of(upstream, time * hidden, rows);
            let output = rows_of(output, time * hidden, rows);
            let transposed = Matrix::new(&transposed, hidden, hidden);
            let mut sums = vec![0.0; rows.len() * hidden];
            for k in (0..time).rev() {
                let t = self.sizes.step(k);
                for (row, sums) in sums.chunks_exact_mut(hidden).enumerate() {
                    let here = (row * time + t) * hidden;
                    let (upstream, output) =
                        (&upstream[here..][..hidden], &output[here..][..hidden]);
                    let dh = &dh[row * hidden..][..hidden];
                    activate_back(simd, output, upstream, dh, sums);
                    projected[here..][..hidden].copy_from_slice(sums);
                }
                multiply(
                    dh,
                    false,
                    Matrix::new(&sums, rows.len(), hidden),
                    transposed,
                );
            }
        });
        let recurrent =
            recurrent_gradient(self.sizes, output, time, self.hidden, &projected, hidden);
        Gradients {
            projected,
            recurrent,
            hidden: hidden0,
        }
    }
}

for_instruction_sets! {
/// The hidden states from their sums.
fn activate(sums: &[f32], h: &mut [f32]) {
    for (h, sum) in h.iter_mut().zip(sums) {
        *h = tanh(*sum);
    }
}
}

for_instruction_sets! {
/// The gradients of the sums of one row, from those of its hidden state `output`.
fn activate_back(output: &[f32], upstream: &[f32], dh: &[f32], sums: &mut [f32]) {
    let hidden = output.len();
    let (upstream, dh, sums) = (&upstream[..hidden], &dh[..hidden], &mut sums[..hidden]);
    for k in 0..hidden {
        sums[k] = (dh[k] + upstream[k]) * (1.0 - output[k] * output[k]);
    }
}
}
