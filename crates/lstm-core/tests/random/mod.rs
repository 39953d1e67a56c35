//! Random tensors that are the same in every run: each thread, and so each test, draws its own numbers from one seed.
//! (Burn's generator is one for all threads, whose tests would take numbers from each other.)
#![allow(dead_code)] // Each test takes a part of it.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorCreationOptions, TensorData};
use rand::distr::{Distribution, Uniform};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use std::cell::RefCell;

thread_local! {
    static RNG: RefCell<ChaCha8Rng> = RefCell::new(ChaCha8Rng::seed_from_u64(1));
}

fn tensor<const D: usize>(
    shape: [usize; D],
    options: impl Into<TensorCreationOptions>,
    distribution: impl Distribution<f64>,
) -> Tensor<D> {
    let count = shape.iter().product();
    let numbers = RNG.with_borrow_mut(|rng| {
        let numbers = rng.sample_iter(distribution);
        numbers.take(count).collect::<Vec<f64>>()
    });
    Tensor::from_data(TensorData::new(numbers, shape), options)
}

/// From -1 to 1.
pub fn uniform<const D: usize>(
    shape: [usize; D],
    options: impl Into<TensorCreationOptions>,
) -> Tensor<D> {
    tensor(shape, options, Uniform::new(-1.0, 1.0).expect("a range"))
}

/// Of mean 0 and variance 1.
pub fn normal<const D: usize>(
    shape: [usize; D],
    options: impl Into<TensorCreationOptions>,
) -> Tensor<D> {
    tensor(shape, options, StandardNormal)
}

/// The module with numbers of mean 0 and variance 1/4 for all its weights.
pub fn weights<M: Module>(module: M) -> M {
    struct Weights;
    impl ModuleMapper for Weights {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|old| {
                let numbers = normal(old.dims(), &old.device()) * 0.5;
                numbers.detach().set_require_grad(old.is_require_grad())
            })
        }
    }
    module.map(&mut Weights)
}
