//! The CPU kernels give the same bits as when these were recorded, on each instruction set: a change that is to
//! change no number is held to that. Where one is meant to, record anew what the test prints, and say why.

// Elsewhere the portable kernels' multiplication and addition may be one instruction, which rounds once.
#![cfg(target_arch = "x86_64")]

#[path = "devices/simd.rs"]
mod simd;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{LstmState, RnnState};
use burn::tensor::{Device, Tensor, TensorData};
use lstm_core::{LstmConfig, RnnConfig};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::ThreadPoolBuilder;
use std::process::Command;

const SIMD: &str = "LSTM_CORE_SIMD";

/// Of each instruction set, the bits of the cells and shapes of [`all`], in their order.
const RECORDED: [(&str, [u64; 8]); 3] = [
    (
        "portable",
        [
            8712619417348419142,
            9266167423843173913,
            5511890959735995761,
            5205125153284220508,
            14054796785441089558,
            1931224257166517359,
            14079417225323096516,
            1837988698990907868,
        ],
    ),
    (
        "avx2",
        [
            17761400559591792373,
            4488641420480261322,
            5331753697966860568,
            705889981090817919,
            4752787094932729090,
            13497361343952522933,
            6746932903701479422,
            4105917385179936506,
        ],
    ),
    (
        "avx512",
        [
            6348796110607007629,
            4401964274697014286,
            7327731810693055771,
            105680222006853544,
            4752787094932729090,
            13497361343952522933,
            6746932903701479422,
            4105917385179936506,
        ],
    ),
];

#[test]
fn the_bits_are_those_recorded() {
    if std::env::var_os(SIMD).is_some() {
        return println!("bits {:?}", all());
    }
    for (name, recorded) in RECORDED {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["the_bits_are_those_recorded", "--nocapture"])
            .env(SIMD, name)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&child.stdout);
        let missing = String::from_utf8_lossy(&child.stderr).contains("this processor has");
        if missing {
            simd::skip(name);
            continue;
        }
        let bits = printed.lines().find_map(|line| line.split("bits ").nth(1));
        assert_eq!(bits, Some(&*format!("{recorded:?}")), "{name}: {printed}");
    }
}

/// Shapes `B, T, I, H`, one thread or two, of the LSTM and then of the RNN.
fn all() -> Vec<u64> {
    let shapes = [
        ([3, 7, 5, 20], 1),
        ([40, 12, 3, 33], 1),
        ([2, 40, 16, 256], 2),
        ([64, 20, 8, 64], 2),
    ];
    let of = |lstm: bool| {
        shapes.map(|(shape, threads)| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| bits(lstm, shape))
        })
    };
    [of(true), of(false)].concat()
}

/// Numbers of its own, the same on every machine.
struct Draw {
    rng: ChaCha8Rng,
    device: Device,
}

impl Draw {
    fn tensor<const D: usize>(&mut self, shape: [usize; D], bound: f32) -> Tensor<D> {
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count)
            .map(|_| self.rng.random_range(-bound..bound))
            .collect();
        Tensor::from_data(TensorData::new(numbers, shape), &self.device)
    }
}

impl ModuleMapper for Draw {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.dims();
        let bound = (shape[0] as f32).sqrt().recip();
        param.map(|_| self.tensor(shape, bound).require_grad())
    }
}

/// A hash of outputs, states and all gradients of a layer with random weights, read in reverse with lengths.
fn bits(lstm: bool, [b, t, i, h]: [usize; 4]) -> u64 {
    let device = Device::flex().autodiff();
    let rng = ChaCha8Rng::seed_from_u64(5);
    let mut draw = Draw {
        rng,
        device: device.clone(),
    };
    let x = draw.tensor([b, t, i], 1.0).require_grad();
    let [h0, c0] = [(); 2].map(|()| draw.tensor([b, h], 1.0).require_grad());
    let [p, q] = [draw.tensor([b, t, h], 1.0), draw.tensor([b, t, h], 1.0)];
    let lengths: Vec<usize> = (0..b).map(|row| t - row % t.min(3)).collect();
    let mut tensors = vec![];
    let mut keep = |data: TensorData| tensors.extend(data.iter::<f32>());
    let (outputs, states, weights, gradients) = if lstm {
        let layer = LstmConfig::new(i, h, true).init(&device).map(&mut draw);
        let state = || Some(LstmState::new(c0.clone(), h0.clone()));
        let (y, s) = layer.forward(x.clone(), state());
        let (z, r) = layer.forward_with_lengths(x.clone(), state(), &lengths);
        let loss = (y.clone() * p).sum() + (z.clone() * q).sum() + s.cell.clone().sum();
        let gradients = (loss + r.hidden.clone().sum()).backward();
        let cell = layer.cell;
        let weights = (cell.input_weight, cell.recurrent_weight, cell.bias);
        (
            [y, z],
            vec![s.cell, s.hidden, r.cell, r.hidden],
            weights,
            gradients,
        )
    } else {
        let layer = RnnConfig::new(i, h, true).init(&device).map(&mut draw);
        let state = || Some(RnnState::new(h0.clone()));
        let (y, s) = layer.forward(x.clone(), state());
        let (z, r) = layer.forward_with_lengths(x.clone(), state(), &lengths);
        let loss = (y.clone() * p).sum() + (z.clone() * q).sum() + s.hidden.clone().sum();
        let gradients = (loss + r.hidden.clone().sum()).backward();
        let cell = layer.cell;
        let weights = (cell.input_weight, cell.recurrent_weight, cell.bias);
        ([y, z], vec![s.hidden, r.hidden], weights, gradients)
    };
    outputs.into_iter().for_each(|y| keep(y.into_data()));
    states.into_iter().for_each(|s| keep(s.into_data()));
    let (w, r, bias) = weights;
    keep(x.grad(&gradients).unwrap().into_data());
    keep(h0.grad(&gradients).unwrap().into_data());
    keep(w.val().grad(&gradients).unwrap().into_data());
    keep(r.val().grad(&gradients).unwrap().into_data());
    keep(bias.unwrap().val().grad(&gradients).unwrap().into_data());
    // FNV-1a.
    tensors
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, number: &f32| {
            (hash ^ u64::from(number.to_bits())).wrapping_mul(0x100_0000_01b3)
        })
}
