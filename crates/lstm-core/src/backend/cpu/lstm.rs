//! The LSTM recurrence over a whole sequence, and back.

use super::math::{sigmoid, tanh};
use super::simd::{Simd, for_instruction_sets};
use super::{Matrix, Sizes, multiply, on_threads, recurrent_gradient, rows_of, shares, transpose};

/// What the recurrence reads; all row-major.
#[derive(Clone, Copy)]
pub(crate) struct Lstm<'a> {
    pub sizes: Sizes,
    /// `x W + b`, `[B, T, 4H]`
    pub projected: &'a [f32],
    /// `R`, `[H, 4H]`
    pub recurrent: &'a [f32],
    /// `h_0`, `[B, H]`
    pub hidden: &'a [f32],
    /// `c_0`, `[B, H]`
    pub cell: &'a [f32],
}

/// What the recurrence gives.
pub(crate) struct Forward {
    /// The hidden states of all steps, aligned with the input, and behind them the final cell state:
    /// `[B, T + 1, H]`. (An autodiff node has one output.)
    pub packed: Vec<f32>,
    /// `i, f, g, o` and the cell state of all steps, `[B, T, 5H]`, if they are to be kept.
    pub kept: Vec<f32>,
}

/// The gradients of a loss.
pub(crate) struct Gradients {
    /// `[B, T, 4H]`
    pub projected: Vec<f32>,
    /// `[H, 4H]`
    pub recurrent: Vec<f32>,
    /// `[B, H]`
    pub hidden: Vec<f32>,
    /// `[B, H]`
    pub cell: Vec<f32>,
}

impl Lstm<'_> {
    /// All steps, one after the other; `keep` what the way back needs.
    pub fn forward(self, keep: bool) -> Forward {
        let Sizes {
            batch,
            time,
            hidden,
            ..
        } = self.sizes;
        let mut packed = vec![0.0; batch * (time + 1) * hidden];
        let mut kept = vec![0.0; if keep { batch * time * 5 * hidden } else { 0 }];
        let threads = self.sizes.rows_of_threads();
        let kept_width = if keep { time * 5 * hidden } else { 0 };
        let work = shares(&mut packed, (time + 1) * hidden, &threads)
            .into_iter()
            .zip(shares(&mut kept, kept_width, &threads))
            .zip(&threads)
            .collect();
        on_threads(work, |((packed, kept), rows)| {
            let share = Lstm {
                sizes: Sizes {
                    batch: rows.len(),
                    ..self.sizes
                },
                projected: rows_of(self.projected, time * 4 * hidden, rows),
                hidden: rows_of(self.hidden, hidden, rows),
                cell: rows_of(self.cell, hidden, rows),
                ..self
            };
            share.forward_rows(packed, kept);
        });
        Forward { packed, kept }
    }

    fn forward_rows(self, packed: &mut [f32], kept: &mut [f32]) {
        let Sizes {
            batch,
            time,
            hidden,
            ..
        } = self.sizes;
        let recurrent = Matrix::new(self.recurrent, hidden, 4 * hidden);
        let simd = Simd::best();
        let mut h = self.hidden.to_vec();
        let mut c = self.cell.to_vec();
        let mut sums = vec![0.0; batch * 4 * hidden];
        for k in 0..time {
            let t = self.sizes.step(k);
            for (row, sums) in sums.chunks_exact_mut(4 * hidden).enumerate() {
                let projected = &self.projected[(row * time + t) * 4 * hidden..];
                sums.copy_from_slice(&projected[..4 * hidden]);
            }
            multiply(&mut sums, true, Matrix::new(&h, batch, hidden), recurrent);
            for (row, sums) in sums.chunks_exact_mut(4 * hidden).enumerate() {
                let c = &mut c[row * hidden..][..hidden];
                let h = &mut h[row * hidden..][..hidden];
                gates(simd, sums, c, h);
                packed[(row * (time + 1) + t) * hidden..][..hidden].copy_from_slice(h);
                if !kept.is_empty() {
                    let kept = &mut kept[(row * time + t) * 5 * hidden..][..5 * hidden];
                    kept[..4 * hidden].copy_from_slice(sums);
                    kept[4 * hidden..].copy_from_slice(c);
                }
            }
        }
        for (row, c) in c.chunks_exact(hidden).enumerate() {
            packed[(row * (time + 1) + time) * hidden..][..hidden].copy_from_slice(c);
        }
    }

    /// Backpropagation through time: from `upstream`, the gradient of [`Forward::packed`].
    pub fn backward(self, upstream: &[f32], packed: &[f32], kept: &[f32]) -> Gradients {
        let Sizes {
            batch,
            time,
            hidden,
            ..
        } = self.sizes;
        let mut projected = vec![0.0; batch * time * 4 * hidden];
        let mut hidden0 = vec![0.0; batch * hidden];
        let mut cell0 = vec![0.0; batch * hidden];
        let transposed = transpose(self.recurrent, hidden, 4 * hidden);
        let threads = self.sizes.rows_of_threads();
        let work = shares(&mut projected, time * 4 * hidden, &threads)
            .into_iter()
            .zip(shares(&mut hidden0, hidden, &threads))
            .zip(shares(&mut cell0, hidden, &threads))
            .zip(&threads)
            .collect();
        on_threads(work, |(((projected, hidden0), cell0), rows)| {
            let share = Lstm {
                sizes: Sizes {
                    batch: rows.len(),
                    ..self.sizes
                },
                cell: rows_of(self.cell, hidden, rows),
                ..self
            };
            share.backward_rows(
                &transposed,
                rows_of(upstream, (time + 1) * hidden, rows),
                rows_of(kept, time * 5 * hidden, rows),
                projected,
                hidden0,
                cell0,
            );
        });
        let recurrent = recurrent_gradient(
            self.sizes,
            packed,
            time + 1,
            self.hidden,
            &projected,
            4 * hidden,
        );
        Gradients {
            projected,
            recurrent,
            hidden: hidden0,
            cell: cell0,
        }
    }

    /// `transposed` is `R` transposed, `[4H, H]`. `dh` and `dc` are the gradients of the states between two steps; at the end, of the first.
    fn backward_rows(
        self,
        transposed: &[f32],
        upstream: &[f32],
        kept: &[f32],
        projected: &mut [f32],
        dh: &mut [f32],
        dc: &mut [f32],
    ) {
        let Sizes {
            batch,
            time,
            hidden,
            ..
        } = self.sizes;
        let simd = Simd::best();
        let transposed = Matrix::new(transposed, 4 * hidden, hidden);
        let upstream_of =
            |row: usize, t: usize| &upstream[(row * (time + 1) + t) * hidden..][..hidden];
        let kept_of = |row: usize, t: usize| &kept[(row * time + t) * 5 * hidden..][..5 * hidden];
        for (row, dc) in dc.chunks_exact_mut(hidden).enumerate() {
            dc.copy_from_slice(upstream_of(row, time));
        }
        let mut sums = vec![0.0; batch * 4 * hidden];
        for k in (0..time).rev() {
            let t = self.sizes.step(k);
            for (row, sums) in sums.chunks_exact_mut(4 * hidden).enumerate() {
                let before = match k {
                    0 => &self.cell[row * hidden..][..hidden],
                    _ => &kept_of(row, self.sizes.step(k - 1))[4 * hidden..],
                };
                let dh = &mut dh[row * hidden..][..hidden];
                dh.iter_mut()
                    .zip(upstream_of(row, t))
                    .for_each(|(dh, upstream)| *dh += upstream);
                let dc = &mut dc[row * hidden..][..hidden];
                gates_back(simd, kept_of(row, t), before, dh, dc, sums);
                projected[(row * time + t) * 4 * hidden..][..4 * hidden].copy_from_slice(sums);
            }
            multiply(dh, false, Matrix::new(&sums, batch, 4 * hidden), transposed);
        }
    }
}

for_instruction_sets! {
/// Turns the sums of one row into `i, f, g, o`, and `c`, `h` into those after the step.
fn gates(sums: &mut [f32], c: &mut [f32], h: &mut [f32]) {
    let hidden = c.len();
    let (i, rest) = sums.split_at_mut(hidden);
    let (f, rest) = rest.split_at_mut(hidden);
    let (g, o) = rest.split_at_mut(hidden);
    let (o, h) = (&mut o[..hidden], &mut h[..hidden]);
    for k in 0..hidden {
        i[k] = sigmoid(i[k]);
        f[k] = sigmoid(f[k]);
        g[k] = tanh(g[k]);
        o[k] = sigmoid(o[k]);
        c[k] = f[k] * c[k] + i[k] * g[k];
        h[k] = o[k] * tanh(c[k]);
    }
}
}

for_instruction_sets! {
/// From the gradients of `h` and `c` after a step, those of the sums; `dc` becomes that of `before`,
/// the cell state before the step.
fn gates_back(kept: &[f32], before: &[f32], dh: &[f32], dc: &mut [f32], sums: &mut [f32]) {
    let hidden = before.len();
    let (i, rest) = kept.split_at(hidden);
    let (f, rest) = rest.split_at(hidden);
    let (g, rest) = rest.split_at(hidden);
    let (o, c) = rest.split_at(hidden);
    let (di, rest) = sums.split_at_mut(hidden);
    let (df, rest) = rest.split_at_mut(hidden);
    let (dg, d_o) = rest.split_at_mut(hidden);
    let (c, d_o) = (&c[..hidden], &mut d_o[..hidden]);
    let (dh, dc) = (&dh[..hidden], &mut dc[..hidden]);
    for k in 0..hidden {
        let shown = tanh(c[k]);
        let dc_all = dc[k] + dh[k] * o[k] * (1.0 - shown * shown);
        di[k] = dc_all * g[k] * i[k] * (1.0 - i[k]);
        df[k] = dc_all * before[k] * f[k] * (1.0 - f[k]);
        dg[k] = dc_all * i[k] * (1.0 - g[k] * g[k]);
        d_o[k] = dh[k] * shown * o[k] * (1.0 - o[k]);
        dc[k] = dc_all * f[k];
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_instruction_sets_give_the_same_bits() {
        const H: usize = 37;
        let numbers = |seed: u32, count: usize| -> Vec<f32> {
            let number =
                |k: u32| ((k.wrapping_mul(2_654_435_761) >> 8) as f32 / 2.0f32.powi(22)) - 2.0;
            (0..count as u32)
                .map(|k| number(seed.wrapping_add(k)))
                .collect()
        };
        let results = |simd| {
            let (mut sums, mut c, mut h) = (numbers(1, 4 * H), numbers(2, H), vec![0.0; H]);
            let before = c.clone();
            gates(simd, &mut sums, &mut c, &mut h);
            let kept = [&sums[..], &c].concat();
            let (dh, mut dc, mut back) = (numbers(3, H), numbers(4, H), vec![0.0; 4 * H]);
            gates_back(simd, &kept, &before, &dh, &mut dc, &mut back);
            [sums, c, h, dc, back].concat()
        };
        let expected = results(Simd::Portable);
        assert!(expected.iter().all(|value| value.is_finite()));
        for simd in Simd::available() {
            assert_eq!(results(simd), expected, "{simd:?}");
        }
    }
}
