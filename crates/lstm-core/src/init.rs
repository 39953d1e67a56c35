//! Initialisers, gate by gate.
//!
//! Packed weights are never initialised as one block: Glorot's variance would then count `4H` outputs
//! instead of `H`, and the singular values of each `H × H` block of an orthogonal `[H, 4H]` would be
//! 0.5 instead of 1. Each gate is drawn by itself and the blocks are laid side by side.
//!
//! Values are drawn on the device (so that [`Device::seed`] governs them) and at once, not lazily as
//! by `burn::nn`: with lazy initialisation the weights depend on which parameter is used first.

use crate::gates::Gate;
use burn::module::Param;
use burn::nn::Initializer;
use burn::tensor::{Device, Distribution, Tensor, TensorData};

/// Packed weights `[rows, gates·H]`: `gates` blocks `[rows, H]`, each drawn with fan-in `rows` and
/// fan-out `H`.
pub(crate) fn packed_weight(
    initializer: &Initializer,
    rows: usize,
    d_hidden: usize,
    gates: usize,
    device: &Device,
) -> Param<Tensor<2>> {
    let plain = device.clone().inner();
    let blocks = (0..gates)
        .map(|_| block(initializer, rows, d_hidden, &plain))
        .collect();
    Param::from_data(Tensor::cat(blocks, 1).into_data(), device)
}

fn block(initializer: &Initializer, rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    match initializer {
        Initializer::Orthogonal { gain } => orthogonal(rows, columns, *gain, device),
        other => other
            .init_with([rows, columns], Some(rows), Some(columns), device)
            .val(),
    }
}

/// A matrix `[rows, columns]` whose shorter side is orthogonal, times `gain`, drawn uniformly over
/// all such matrices (Saxe, McClelland & Ganguli 2013).
///
/// Burn's `Initializer::Orthogonal` does the same with a decomposition made of device operations,
/// which takes seconds at a few hundred units. This is Gram-Schmidt on the host, in `f64`, done twice
/// ("twice is enough": the second pass removes what rounding left of the first).
///
/// ```
/// # use burn::tensor::Device;
/// let q = lstm_core::init::orthogonal(8, 8, 1.0, &Device::flex());
/// assert_eq!(q.dims(), [8, 8]);
/// ```
pub fn orthogonal(rows: usize, columns: usize, gain: f64, device: &Device) -> Tensor<2> {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut vectors = normal_vectors(count, length, device);
    for k in 0..count {
        let (done, rest) = vectors.split_at_mut(k);
        let vector = &mut rest[0];
        for _pass in 0..2 {
            for unit in done.iter() {
                let along: f64 = vector.iter().zip(unit).map(|(a, b)| a * b).sum();
                vector
                    .iter_mut()
                    .zip(unit)
                    .for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = vector.iter().map(|a| a * a).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|a| *a /= norm);
    }
    let values: Vec<f32> = vectors
        .iter()
        .flatten()
        .map(|value| (gain * value) as f32)
        .collect();
    let short_by_long = Tensor::from_data(TensorData::new(values, [count, length]), device);
    if rows <= columns {
        short_by_long
    } else {
        short_by_long.transpose()
    }
}

fn normal_vectors(count: usize, length: usize, device: &Device) -> Vec<Vec<f64>> {
    let draw = Tensor::<2>::random([count, length], Distribution::Normal(0.0, 1.0), device);
    let values: Vec<f64> = draw.into_data().iter::<f64>().collect();
    values.chunks(length).map(<[f64]>::to_vec).collect()
}

/// The bias of an LSTM, `[4H]`: zero but for the forget gate.
///
/// A forget bias of 1 opens the gate at the start, so that the memory is kept until training says
/// otherwise (Gers, Schmidhuber & Cummins 2000; Jozefowicz, Zaremba & Sutskever 2015; Keras'
/// `unit_forget_bias`). With coupled gates there is no forget gate: the input gate gets the negative,
/// since `f = σ(b)` is `i = σ(-b)`.
pub(crate) fn forget_bias(
    forget_bias: f64,
    d_hidden: usize,
    input_forget: bool,
    device: &Device,
) -> Param<Tensor<1>> {
    let forget = vec![forget_bias as f32; d_hidden];
    gate_biases(&forget, false, input_forget, device)
}

/// The chrono bias of an LSTM, `[4H]`: `b_f = ln U[1, t_max - 1]`, `b_i = -b_f`, the others zero, so
/// that the units' memories last between 1 and `t_max` steps (Tallec & Ollivier 2018, *Can recurrent
/// neural networks warp time?*).
pub(crate) fn chrono_bias(
    t_max: usize,
    d_hidden: usize,
    input_forget: bool,
    device: &Device,
) -> Param<Tensor<1>> {
    assert!(
        t_max >= 2,
        "chrono initialisation: the longest time span must be at least 2 steps, got {t_max}"
    );
    // A uniform draw needs a span: at t_max = 2 every unit has ln 1 = 0.
    let span = Tensor::<1>::random(
        [d_hidden],
        Distribution::Uniform(0.0, 1.0),
        &device.clone().inner(),
    );
    let forget: Vec<f32> = span
        .into_data()
        .iter::<f32>()
        .map(|u| (1.0 + u * (t_max - 2) as f32).ln())
        .collect();
    gate_biases(&forget, true, input_forget, device)
}

/// The packed bias for the forget gate's, which the input gate `mirrors` or not; with coupled gates it
/// always does, standing for the forget gate.
fn gate_biases(
    forget: &[f32],
    mirrors: bool,
    input_forget: bool,
    device: &Device,
) -> Param<Tensor<1>> {
    let values: Vec<f32> = Gate::packed(input_forget)
        .iter()
        .flat_map(|gate| match gate {
            Gate::Input if mirrors || input_forget => forget.iter().map(|bias| -bias).collect(),
            Gate::Forget => forget.to_vec(),
            Gate::Input | Gate::Cell | Gate::Output => vec![0.0; forget.len()],
        })
        .collect();
    let shape = [values.len()];
    Param::from_data(TensorData::new(values, shape), device)
}
