//! Every gradient of every kind of cell against central differences in float64: of the parameters, of a
//! learned initial state, of the input and of a given state.

use crate::cells::{self, Check, I, numbers, random, random_state, random_weights};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
use lstm_core::{Cell, Recurrent, RecurrentState};

/// Half the distance of a central difference; the error is about its square.
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-7;
const B: usize = 2;
const T: usize = 3;

#[test]
fn every_cell_against_central_differences() {
    struct Differences;
    impl Check for Differences {
        fn check<C: Cell>(&self, name: &str, cell: C) {
            differences(name, cell);
        }
    }
    cells::all(&Device::flex().autodiff(), &Differences);
}

/// Values on the host that a loss is computed from: the input, then the tensors of the state, if given.
type Values = Vec<TensorData>;

pub fn differences<C: Cell>(name: &str, cell: C) {
    let device = Device::flex().autodiff();
    let zero = cell.zero_state(B, (&device, DType::F64));
    let mut upstream = vec![random([B * T, cell.d_output()], &device).into_data()];
    let shapes = zero.tensors().into_iter().map(|tensor| tensor.dims());
    upstream.extend(shapes.map(|shape| random(shape, &device).into_data()));
    let given = random_state(&cell, B, &device).tensors();
    let layer = random_weights(Recurrent::new(cell).with_learned_state(&device));
    for with_state in [false, true] {
        let mut values = vec![random([B, T, I], &device).into_data()];
        if with_state {
            values.extend(given.iter().map(|tensor| tensor.to_data()));
        }
        let run = |layer: &Recurrent<C>, values: &Values| run(layer, values, &upstream, &device);

        let (loss, leaves) = run(&layer, &values);
        let gradients = loss.backward();
        for (which, leaf) in leaves.iter().enumerate() {
            let got = leaf(&gradients).expect("it has a gradient");
            for (k, got) in got.into_iter().enumerate() {
                let loss_at = |by| {
                    let mut moved = values.clone();
                    let mut numbers: Vec<f64> = moved[which].iter::<f64>().collect();
                    numbers[k] += by;
                    moved[which] = TensorData::new(numbers, moved[which].shape().clone());
                    numbers_of(run(&layer, &moved).0)
                };
                close(&format!("{name}, given {which}[{k}]"), got, loss_at);
            }
        }
        let mut of_parameters = OfParameters {
            gradients: &gradients,
            found: vec![],
        };
        layer.visit(&mut of_parameters);
        for (index, got) in of_parameters.found.into_iter().enumerate() {
            for (k, got) in got.into_iter().enumerate() {
                let loss_at = |by| {
                    let mut shift = Shift { index, k, by };
                    numbers_of(run(&layer.clone().map(&mut shift), &values).0)
                };
                close(&format!("{name}, parameter {index}[{k}]"), got, loss_at);
            }
        }
    }
}

fn numbers_of(loss: Tensor<1>) -> f64 {
    numbers(&loss)[0]
}

fn close(what: &str, got: f64, loss_at: impl Fn(f64) -> f64) {
    let want = (loss_at(STEP) - loss_at(-STEP)) / (2.0 * STEP);
    let error = (got - want).abs();
    let scale = want.abs().max(1.0);
    assert!(
        error <= TOLERANCE * scale,
        "{what}: the gradient is {got}, the difference {want}"
    );
}

/// How to get the gradient of an input, if it has one.
type Leaf = Box<dyn Fn(&Gradients) -> Option<Vec<f64>>>;

/// A loss that sees all outputs and the final state.
fn run<C: Cell>(
    layer: &Recurrent<C>,
    values: &Values,
    upstream: &Values,
    device: &Device,
) -> (Tensor<1>, Vec<Leaf>) {
    let options = (device, DType::F64);
    let input = Tensor::<3>::from_data(values[0].clone(), options).require_grad();
    let mut leaves: Vec<Leaf> = vec![];
    let tracked = input.clone();
    leaves.push(Box::new(move |gradients| {
        tracked.grad(gradients).map(|tensor| numbers(&tensor))
    }));
    let mut given = values[1..].iter();
    let state = (values.len() > 1).then(|| {
        let zero = layer.cell.zero_state(B, options);
        zero.map(|_| {
            let tensor = Tensor::<2>::from_data(given.next().unwrap().clone(), options);
            let tensor = tensor.require_grad();
            let tracked = tensor.clone();
            leaves.push(Box::new(move |gradients| {
                tracked.grad(gradients).map(|tensor| numbers(&tensor))
            }));
            tensor
        })
    });
    let (output, last) = layer.forward(input, state);
    let [_, _, features] = output.dims();
    let mut results = vec![output.reshape([B * T, features])];
    results.extend(last.tensors());
    let losses = results.into_iter().zip(upstream).map(|(result, upstream)| {
        let upstream = Tensor::<2>::from_data(upstream.clone(), options);
        (result * upstream).sum()
    });
    (losses.reduce(|a, b| a + b).unwrap(), leaves)
}

/// The gradients of all parameters, zeros for those that have none.
struct OfParameters<'a> {
    gradients: &'a Gradients,
    found: Vec<Vec<f64>>,
}

impl ModuleVisitor for OfParameters<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(match param.val().grad(self.gradients) {
            Some(gradient) => numbers(&gradient),
            None => vec![0.0; param.val().dims().iter().product()],
        });
    }
}

/// Moves one number of one parameter.
struct Shift {
    index: usize,
    k: usize,
    by: f64,
}

impl ModuleMapper for Shift {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.index > 0 {
            self.index -= 1;
            return param;
        }
        self.index = usize::MAX; // no further parameter
        param.map(|tensor| {
            let mut moved = numbers(&tensor);
            moved[self.k] += self.by;
            let data = TensorData::new(moved, tensor.dims());
            Tensor::from_data(data, (&tensor.device(), DType::F64)).require_grad()
        })
    }
}
