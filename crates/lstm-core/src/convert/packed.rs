//! A cell's weights as plain numbers, in this library's layout: what every format is turned into and
//! made from.
//!
//! The numbers are float64, which holds those of all float types: nothing is rounded on the way, but
//! for the sum of two biases.

use super::{WeightError, Weights};
use crate::cell::{LstmCell, RnnCell};
use burn::module::Param;
use burn::tensor::{DType, Tensor, TensorData};

/// Sizes of a cell's weights.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub d_input: usize,
    pub d_hidden: usize,
    /// Packed gates: 4 or 1.
    pub gates: usize,
    pub bias: bool,
    /// The type of the weights.
    pub dtype: DType,
}

impl Sizes {
    /// `G·H`
    pub fn width(&self) -> usize {
        self.gates * self.d_hidden
    }
}

/// `W [I, G·H]`, `R [H, G·H]` and `b [G·H]`, row-major.
pub(crate) struct Packed {
    pub input_weight: Vec<f64>,
    pub recurrent_weight: Vec<f64>,
    pub bias: Option<Vec<f64>>,
}

/// A cell whose weights can be taken out and put in.
pub(crate) trait PackedCell: Sized {
    /// The sizes, or what in the cell's options no other format knows.
    fn sizes(&self) -> Result<Sizes, WeightError>;
    /// The weights.
    fn packed(&self) -> Packed;
    /// The same cell with other weights of the same sizes.
    fn with_packed(self, packed: Packed) -> Self;
}

macro_rules! impl_packed_cell {
    ($cell:ty, $gates:literal, $check:expr) => {
        impl PackedCell for $cell {
            fn sizes(&self) -> Result<Sizes, WeightError> {
                let check: fn(&$cell) -> Result<(), WeightError> = $check;
                check(self)?;
                Ok(Sizes {
                    d_input: self.d_input(),
                    d_hidden: self.d_hidden(),
                    gates: $gates,
                    bias: self.bias.is_some(),
                    dtype: match self.input_weight.val().dtype() {
                        DType::Flex32 => DType::F32,
                        dtype => dtype,
                    },
                })
            }

            fn packed(&self) -> Packed {
                Packed {
                    input_weight: numbers(&self.input_weight),
                    recurrent_weight: numbers(&self.recurrent_weight),
                    bias: self.bias.as_ref().map(numbers),
                }
            }

            fn with_packed(self, packed: Packed) -> Self {
                Self {
                    input_weight: replace(self.input_weight, packed.input_weight),
                    recurrent_weight: replace(self.recurrent_weight, packed.recurrent_weight),
                    bias: self
                        .bias
                        .zip(packed.bias)
                        .map(|(bias, new)| replace(bias, new)),
                    ..self
                }
            }
        }
    };
}

impl_packed_cell!(RnnCell, 1, |_| Ok(()));
impl_packed_cell!(LstmCell, 4, |cell| match cell.input_forget {
    true => Err(WeightError::Unsupported {
        what: "coupled gates (input_forget)",
    }),
    false => Ok(()),
});

fn numbers<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f64> {
    param.val().into_data().iter::<f64>().collect()
}

/// A parameter with another value; its id stays, and whether it is trained.
fn replace<const D: usize>(param: Param<Tensor<D>>, values: Vec<f64>) -> Param<Tensor<D>> {
    param.map(|old| {
        let (dtype, device, trained) = (old.dtype(), old.device(), old.is_require_grad());
        let data = TensorData::new(values, old.dims()).convert_dtype(dtype);
        let new = Tensor::from_data(data, (&device, dtype));
        if trained { new.require_grad() } else { new }
    })
}

/// Adds float64 numbers to `weights`, as values of type `dtype`.
pub(crate) fn insert<const D: usize>(
    weights: &mut Weights,
    name: impl Into<String>,
    values: Vec<f64>,
    shape: [usize; D],
    dtype: DType,
) {
    weights.insert(name, TensorData::new(values, shape).convert_dtype(dtype));
}

/// `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transpose(values: &[f64], columns: usize) -> Vec<f64> {
    let column = |k: usize| values.iter().skip(k).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

/// The sum of two biases. Adding a zero changes nothing, not even the sign of another zero, so that
/// what was written comes back bit for bit.
pub(crate) fn sum(first: Vec<f64>, second: &[f64]) -> Vec<f64> {
    let add = |(a, b): (f64, &f64)| match (a, *b) {
        (a, 0.0) => a,
        (0.0, b) => b,
        (a, b) => a + b,
    };
    first.into_iter().zip(second).map(add).collect()
}
