//! Initialisers, gate by gate.
//!
//! Packed weights are never initialised as one block: Glorot's variance would then count `4H` outputs
//! instead of `H`, and the singular values of each `H × H` block of an orthogonal `[H, 4H]` would be
//! 0.5 instead of 1. Each gate is drawn separately and the blocks are concatenated.
//!
//! A parameter is drawn when it is first used, as in `burn::nn`, and never if its weights are loaded.
//! It is drawn on the host, by a ChaCha generator of its own, whose seed comes from the device's generator
//! when the module is made. So [`Device::seed`] determines the weights, and the order of use doesn't matter.
//! (As with the layers of Burn 0.22.1, a clone of a module that hasn't been used shares the pending initialisation, so
//! `no_grad` of the one freezes the other.)
//!
//! Burn holds a lock while a parameter is drawn, and the first use may be inside a rayon task. A thread
//! that waited for rayon here could be given another task that needs the same parameter, and deadlock.
//! So nothing here runs on rayon.

use crate::gates::Gate;
use burn::module::{Param, ParamId};
use burn::nn::Initializer;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use gemm::Parallelism;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

/// Packed weights `[rows, gates·H]`: `gates` blocks `[rows, H]`, each drawn with fan-in `rows` and
/// fan-out `H`.
pub(crate) fn packed_weight(
    initializer: &Initializer,
    rows: usize,
    d_hidden: usize,
    gates: usize,
    device: &Device,
) -> Param<Tensor<2>> {
    let (initializer, mut rng) = (initializer.clone(), generator(device));
    lazy([rows, gates * d_hidden], device, move || {
        blocks(&initializer, rows, d_hidden, gates, &mut rng)
    })
}

/// A peephole `[H]`. Each unit reads its own cell state: fan-in and fan-out are 1.
pub(crate) fn peephole(
    initializer: &Initializer,
    d_hidden: usize,
    device: &Device,
) -> Param<Tensor<1>> {
    let (initializer, mut rng) = (initializer.clone(), generator(device));
    lazy([d_hidden], device, move || {
        blocks(&initializer, 1, 1, d_hidden, &mut rng)
    })
}

/// A parameter whose values are drawn when it is first used.
fn lazy<const D: usize>(
    shape: [usize; D],
    device: &Device,
    values: impl FnOnce() -> Vec<f32> + Send + Sync + 'static,
) -> Param<Tensor<D>> {
    let init = move |device: &Device, require_grad| {
        let data = TensorData::new(values(), shape);
        device
            .memory_persistent_allocations(data, |data| Tensor::from_data(data, device))
            .set_require_grad(require_grad)
    };
    Param::uninitialized(ParamId::new(), init, device.clone(), true, shape.into())
}

/// A generator whose seed is drawn from the device's.
pub(crate) fn generator(device: &Device) -> ChaCha8Rng {
    // All CPU backends draw the same float numbers from a seed, and every float type holds eight bits of one.
    let bytes = Distribution::Uniform(0.0, 256.0);
    let bytes = Tensor::<1>::random([8], bytes, &device.clone().inner()).into_data();
    let byte = |number: f32| (number as u64).min(255);
    let seed = (bytes.iter::<f32>()).fold(0, |seed, number| seed << 8 | byte(number));
    ChaCha8Rng::seed_from_u64(seed)
}

/// `count` blocks `[rows, columns]` side by side, each drawn separately.
fn blocks(
    initializer: &Initializer,
    rows: usize,
    columns: usize,
    count: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let width = count * columns;
    let mut packed = vec![0.0; rows * width];
    for k in 0..count {
        let block = block(initializer, rows, columns, rng);
        for (to, row) in packed.chunks_mut(width).zip(block.chunks(columns)) {
            to[k * columns..][..columns].copy_from_slice(row);
        }
    }
    packed
}

/// The values of [`Initializer::init_with`] for `[rows, columns]`, with fan-in `rows` and fan-out `columns`.
fn block(initializer: &Initializer, rows: usize, columns: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let count = rows * columns;
    let mut uniform = |low: f64, high: f64| -> Vec<f32> {
        let value = |_| (low + (high - low) * f64::from(rng.random::<f32>())) as f32;
        (0..count).map(value).collect()
    };
    let xavier = (2.0 / (rows + columns) as f64).sqrt();
    let kaiming = |fan_out_only| match fan_out_only {
        true => (1.0 / columns as f64).sqrt(),
        false => (1.0 / rows as f64).sqrt(),
    };
    let of_variance = |std: f64| 3.0_f64.sqrt() * std;
    match *initializer {
        Initializer::Constant { value } => vec![value as f32; count],
        Initializer::Ones => vec![1.0; count],
        Initializer::Zeros => vec![0.0; count],
        Initializer::Uniform { min, max } => uniform(min, max),
        Initializer::XavierUniform { gain } => {
            let bound = of_variance(gain * xavier);
            uniform(-bound, bound)
        }
        Initializer::KaimingUniform { gain, fan_out_only } => {
            let bound = of_variance(gain * kaiming(fan_out_only));
            uniform(-bound, bound)
        }
        Initializer::Normal { mean, std } => normal(mean, std, count, rng),
        Initializer::XavierNormal { gain } => normal(0.0, gain * xavier, count, rng),
        Initializer::KaimingNormal { gain, fan_out_only } => {
            normal(0.0, gain * kaiming(fan_out_only), count, rng)
        }
        Initializer::Orthogonal { gain } => orthogonal_block(rows, columns, gain, rng),
    }
}

fn normal(mean: f64, std: f64, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let value = |_| (mean + std * rng.sample::<f64, _>(StandardNormal)) as f32;
    (0..count).map(value).collect()
}

/// A matrix `[rows, columns]` whose shorter side is orthogonal, times `gain`, drawn uniformly over
/// all such matrices (Saxe, McClelland & Ganguli 2013).
///
/// Burn's `Initializer::Orthogonal` does the same with a decomposition made of device operations,
/// which takes seconds at a few hundred units. This is a product of reflections on the host.
///
/// ```
/// # use burn::tensor::Device;
/// let q = lstm_core::init::orthogonal(8, 8, 1.0, &Device::flex());
/// assert_eq!(q.dims(), [8, 8]);
/// ```
pub fn orthogonal(rows: usize, columns: usize, gain: f64, device: &Device) -> Tensor<2> {
    let values = orthogonal_block(rows, columns, gain, &mut generator(device));
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// Reflections that are applied at once: 32 is best, or nearly so, from 64 to 1,024 units.
const REFLECTIONS: usize = 32;

/// The values of an [`orthogonal`] matrix.
///
/// It is the factor `Q` of `A = Q R` for a matrix `A` of normal numbers, with the signs for which the diagonal of `R`
/// is positive, which makes it uniform (Mezzadri 2007, *How to generate random matrices from the classical
/// compact groups*). Householder's decomposition finds it as a product of reflections, each of which turns the rest
/// of a column of normal numbers into its first axis. The rest of the columns on its right stays normal and
/// independent, so the reflections can be drawn without decomposing anything (Stewart 1980, *The efficient
/// generation of random orthogonal matrices*). That is half the work; the rest is matrix products: `b` reflections
/// `I - v v' / ½v'v` are together `I - V T⁻¹ V'`, where `T` is the upper triangle of `V'V` with half its diagonal
/// (Puglisi 1992).
///
/// It is computed in float32: for 1,024 units half the time of float64, and the columns' products are off by at most 8e-7.
fn orthogonal_block(rows: usize, columns: usize, gain: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let (short, long) = (rows.min(columns), rows.max(columns));
    // [long, short], each column with its sign.
    let mut q = vec![0.0; long * short];
    let mut reflections = vec![0.0; REFLECTIONS * long];
    let mut dots = [0.0; REFLECTIONS * REFLECTIONS];
    let mut along = vec![0.0; REFLECTIONS * short];
    for first in (0..short).step_by(REFLECTIONS).rev() {
        let count = REFLECTIONS.min(short - first);
        let (height, width) = (long - first, short - first);
        let reflections = &mut reflections[..count * height];
        for (k, vector) in reflections.chunks_mut(height).enumerate() {
            let (before, vector) = vector.split_at_mut(k);
            before.fill(0.0);
            vector.fill_with(|| rng.sample(StandardNormal));
            let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            let sign = vector[0].signum();
            vector[0] += sign * norm;
            q[(first + k) * (short + 1)] = -sign;
        }
        let v = Matrix(reflections, [1, height]);
        let transposed = Matrix(reflections, [height, 1]);
        let dots = &mut dots[..count * count];
        product([count, height, count], dots, count, 0.0, transposed, v, 1.0);
        let along = &mut along[..count * width];
        let part = Matrix(&q[first * (short + 1)..], [short, 1]);
        product(
            [count, height, width],
            along,
            width,
            0.0,
            transposed,
            part,
            1.0,
        );
        divide(along, dots, count);
        let part = &mut q[first * (short + 1)..];
        let along = Matrix(along, [width, 1]);
        product([height, count, width], part, short, 1.0, v, along, -1.0);
    }
    let value = |k: usize| gain as f32 * q[k];
    match rows >= columns {
        true => (0..long * short).map(value).collect(),
        false => (0..short)
            .flat_map(|row| (0..long).map(move |column| column * short + row))
            .map(value)
            .collect(),
    }
}

/// Solves `T X = B` for `X`, in place of `B` `[count, ·]`; `T` is the upper triangle of `dots`, with half its
/// diagonal.
fn divide(b: &mut [f32], dots: &[f32], count: usize) {
    let width = b.len() / count;
    for k in (0..count).rev() {
        let (above, below) = b.split_at_mut((k + 1) * width);
        let row = &mut above[k * width..];
        for (below, dot) in below.chunks(width).zip(&dots[k * count + k + 1..]) {
            row.iter_mut().zip(below).for_each(|(a, b)| *a -= dot * b);
        }
        let scale = 2.0 / dots[k * (count + 1)];
        row.iter_mut().for_each(|a| *a *= scale);
    }
}

/// A matrix in memory, with its column and row strides.
#[derive(Clone, Copy)]
struct Matrix<'a>(&'a [f32], [usize; 2]);

/// `to = keep · to + scale · a b`, of sizes `[rows, inner]` and `[inner, columns]`; rows of `to` are `stride` apart.
fn product(
    [rows, inner, columns]: [usize; 3],
    to: &mut [f32],
    stride: usize,
    keep: f32,
    a: Matrix,
    b: Matrix,
    scale: f32,
) {
    let last = |rows: usize, columns: usize, [down, right]: [usize; 2]| {
        (rows - 1) * down + (columns - 1) * right
    };
    assert!(last(rows, columns, [stride, 1]) < to.len());
    assert!(last(rows, inner, a.1) < a.0.len() && last(inner, columns, b.1) < b.0.len());
    let [a_down, a_right] = a.1.map(|stride| stride as isize);
    let [b_down, b_right] = b.1.map(|stride| stride as isize);
    // SAFETY: the last number of each matrix is within its slice, and no stride is negative.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            to.as_mut_ptr(),
            1,
            stride as isize,
            keep != 0.0,
            a.0.as_ptr(),
            a_right,
            a_down,
            b.0.as_ptr(),
            b_right,
            b_down,
            keep,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The bias of an LSTM, `[4H]`: zero except for the forget gate.
///
/// A forget bias of 1 opens the gate at the start, so that the cell state lasts until training changes
/// that (Gers, Schmidhuber & Cummins 2000; Jozefowicz, Zaremba & Sutskever 2015; Keras'
/// `unit_forget_bias`). With coupled gates there is no forget gate: the input gate gets the negative,
/// since `f = σ(b)` is `i = σ(-b)`.
pub(crate) fn forget_bias(
    forget_bias: f64,
    d_hidden: usize,
    input_forget: bool,
    device: &Device,
) -> Param<Tensor<1>> {
    lazy(gates_shape(d_hidden, input_forget), device, move || {
        let forget = vec![forget_bias as f32; d_hidden];
        gate_biases(&forget, false, input_forget)
    })
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
    let mut rng = generator(device);
    lazy(gates_shape(d_hidden, input_forget), device, move || {
        let forget = |_| (1.0 + rng.random::<f32>() * (t_max - 2) as f32).ln();
        let forget: Vec<f32> = (0..d_hidden).map(forget).collect();
        gate_biases(&forget, true, input_forget)
    })
}

fn gates_shape(d_hidden: usize, input_forget: bool) -> [usize; 1] {
    [Gate::packed(input_forget).len() * d_hidden]
}

/// The packed bias with the given forget bias, whose negative the input gate gets if `mirrors`. With coupled gates
/// there is only the input gate, which always gets it.
fn gate_biases(forget: &[f32], mirrors: bool, input_forget: bool) -> Vec<f32> {
    Gate::packed(input_forget)
        .iter()
        .flat_map(|gate| match gate {
            Gate::Input if mirrors || input_forget => forget.iter().map(|bias| -bias).collect(),
            Gate::Forget => forget.to_vec(),
            Gate::Input | Gate::Cell | Gate::Output => vec![0.0; forget.len()],
        })
        .collect()
}
