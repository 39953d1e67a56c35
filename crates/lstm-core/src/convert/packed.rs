//! A cell's weights as plain numbers, in this library's layout: the form that every format is converted to and
//! from.
//!
//! The numbers are float64, which holds those of all float types exactly: nothing is rounded except the sum of
//! two biases.

use super::{WeightError, Weights};
use crate::cell::{Cell, GruCell, LstmCell, LstmpCell, PeepholeLstmCell, RnnCell};
use crate::module::{self, dense};
use crate::nonlinearity::{AnyActivation, Nonlinearity};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor, TensorData};

/// The gates that a cell packs side by side, in this library's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gates {
    /// No gates, one map.
    Rnn,
    /// `i, f, g, o`
    Lstm,
    /// `i, g, o`, with `f = 1 - i`.
    CoupledLstm,
    /// `r, z, n`
    Gru { reset_after: bool },
}

impl Gates {
    /// `G`
    fn count(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Lstm => 4,
            Self::CoupledLstm | Self::Gru { .. } => 3,
        }
    }
}

/// Sizes of a cell's weights, and which of the optional ones it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub gates: Gates,
    pub d_input: usize,
    pub d_hidden: usize,
    /// Features of the hidden state: those of the projection, if there is one, else `d_hidden`.
    pub d_output: usize,
    pub bias: bool,
    pub projection: bool,
    pub peepholes: bool,
    /// The type of the weights.
    pub dtype: DType,
}

impl Sizes {
    /// `G·H`
    pub fn width(&self) -> usize {
        self.gates.count() * self.d_hidden
    }

    /// Whether a part of the second bias is stored separately: that of a GRU's candidate, which the reset gate
    /// multiplies.
    pub fn candidate_bias(&self) -> bool {
        self.bias && self.gates == (Gates::Gru { reset_after: true })
    }

    /// The bias, and the candidate's second one, from two biases `[G·H]` that are otherwise added. The candidate is the
    /// last gate of a GRU in every format.
    pub fn join(&self, first: Vec<f64>, second: &[f64]) -> (Vec<f64>, Option<Vec<f64>>) {
        let added = match self.candidate_bias() {
            true => self.width() - self.d_hidden,
            false => self.width(),
        };
        let (added, candidate) = second.split_at(added);
        let candidate = self.candidate_bias().then(|| candidate.to_vec());
        (sum(first, added), candidate)
    }

    /// The second bias `[G·H]`: zero except for a GRU's candidate.
    pub fn second_bias(&self, candidate: Option<&[f64]>) -> Vec<f64> {
        let candidate = candidate.unwrap_or_default();
        let mut second = vec![0.0; self.width() - candidate.len()];
        second.extend(candidate);
        second
    }
}

/// `W [I, G·H]`, `R [P, G·H]` and `b [G·H]`, and what only some cells have, row-major. `P` is `H` unless
/// there is a projection.
pub(crate) struct Packed {
    pub input_weight: Vec<f64>,
    pub recurrent_weight: Vec<f64>,
    pub bias: Option<Vec<f64>>,
    /// `b'_n [H]`, the bias that a GRU's reset gate multiplies.
    pub candidate_bias: Option<Vec<f64>>,
    /// `Q [H, P]`
    pub projection: Option<Vec<f64>>,
    /// `p_i`, `p_f` (not with coupled gates) and `p_o`, `[3H]`
    pub peepholes: Option<Vec<f64>>,
}

impl Packed {
    /// With the gates in another order: the `k`-th is the `order[k]`-th of these.
    pub fn reorder(self, d_hidden: usize, order: &[usize]) -> Self {
        let gates = |values: Vec<f64>| take(&values, d_hidden, order);
        Self {
            input_weight: gates(self.input_weight),
            recurrent_weight: gates(self.recurrent_weight),
            bias: self.bias.map(gates),
            ..self
        }
    }
}

/// The parameters of a cell, as in [`Packed`].
pub(crate) struct Parameters<'a> {
    input_weight: &'a mut Param<Tensor<2>>,
    recurrent_weight: &'a mut Param<Tensor<2>>,
    bias: Option<&'a mut Param<Tensor<1>>>,
    candidate_bias: Option<&'a mut Param<Tensor<1>>>,
    projection: Option<&'a mut Param<Tensor<2>>>,
    peepholes: Option<Vec<&'a mut Param<Tensor<1>>>>,
}

impl<'a> Parameters<'a> {
    /// Those that every cell has.
    fn new(
        input_weight: &'a mut Param<Tensor<2>>,
        recurrent_weight: &'a mut Param<Tensor<2>>,
        bias: &'a mut Option<Param<Tensor<1>>>,
    ) -> Self {
        Self {
            input_weight,
            recurrent_weight,
            bias: bias.as_mut(),
            candidate_bias: None,
            projection: None,
            peepholes: None,
        }
    }
}

/// A cell's options that a file may state, or that another format may not have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// The activations in ONNX' order: for an LSTM those of the gates, the candidate and the hidden state, for a GRU those
    /// of the gates and the candidate, for a plain cell its own. `None` for one with parameters.
    pub activations: Vec<Option<Nonlinearity>>,
    /// Bound of the state.
    pub clip: Option<f64>,
    /// Bound of the gate pre-activations.
    pub clip_sums: Option<f64>,
}

impl Options {
    fn new(activations: &[&AnyActivation], clip: Option<f64>, clip_sums: Option<f64>) -> Self {
        Self {
            activations: activations
                .iter()
                .map(|function| function.pointwise())
                .collect(),
            clip,
            clip_sums,
        }
    }
}

/// A cell whose weights can be read and replaced.
pub(crate) trait PackedCell: Cell {
    /// Its gates, or the option of the cell that no other format has.
    fn packed_gates(&self) -> Result<Gates, WeightError>;

    /// Its other options that a file may state.
    fn options(&self) -> Options;

    /// Its parameters. Those of a clone are the same tensors.
    fn parameters(&mut self) -> Parameters<'_>;

    /// The sizes, or the option of the cell that most other formats don't have.
    fn sizes(&self) -> Result<Sizes, WeightError> {
        match self.packed_gates()? {
            Gates::CoupledLstm => Err(WeightError::Unsupported {
                what: "coupled gates (input_forget)",
            }),
            _ => self.sizes_coupled_too(),
        }
    }

    /// The sizes, or the option of the cell that no other format has: ONNX and `burn::nn` have coupled gates, too.
    fn sizes_coupled_too(&self) -> Result<Sizes, WeightError> {
        let gates = self.packed_gates()?;
        let mut cell = self.clone();
        let parameters = cell.parameters();
        let [d_input, width] = module::dims(parameters.input_weight);
        let [d_output, _] = module::dims(parameters.recurrent_weight);
        Ok(Sizes {
            gates,
            d_input,
            d_hidden: width / gates.count(),
            d_output,
            bias: parameters.bias.is_some(),
            projection: parameters.projection.is_some(),
            peepholes: parameters.peepholes.is_some(),
            dtype: match module::dtype(parameters.input_weight) {
                DType::Flex32 => DType::F32,
                dtype => dtype,
            },
        })
    }

    /// The weights.
    fn packed(&self) -> Packed {
        let mut cell = self.clone();
        let parameters = cell.parameters();
        let peepholes = parameters.peepholes;
        Packed {
            input_weight: numbers(parameters.input_weight),
            recurrent_weight: numbers(parameters.recurrent_weight),
            bias: parameters.bias.map(numbers),
            candidate_bias: parameters.candidate_bias.map(numbers),
            projection: parameters.projection.map(numbers),
            peepholes: peepholes.map(|all| all.into_iter().flat_map(numbers).collect()),
        }
    }

    /// Replaces the weights by others of the same sizes.
    fn set_packed(&mut self, packed: Packed) {
        let parameters = self.parameters();
        replace(Some(parameters.input_weight), Some(packed.input_weight));
        replace(
            Some(parameters.recurrent_weight),
            Some(packed.recurrent_weight),
        );
        replace(parameters.bias, packed.bias);
        replace(parameters.candidate_bias, packed.candidate_bias);
        replace(parameters.projection, packed.projection);
        if let Some((old, new)) = parameters.peepholes.zip(packed.peepholes) {
            let new = new.chunks(new.len() / old.len());
            for (old, new) in old.into_iter().zip(new) {
                replace(Some(old), Some(new.to_vec()));
            }
        }
    }
}

impl PackedCell for RnnCell {
    fn packed_gates(&self) -> Result<Gates, WeightError> {
        Ok(Gates::Rnn)
    }

    fn options(&self) -> Options {
        Options::new(&[&self.hidden_activation], self.clip, self.clip_sums)
    }

    fn parameters(&mut self) -> Parameters<'_> {
        Parameters::new(
            &mut self.input_weight,
            &mut self.recurrent_weight,
            &mut self.bias,
        )
    }
}

impl PackedCell for LstmCell {
    fn packed_gates(&self) -> Result<Gates, WeightError> {
        Ok(match self.input_forget {
            true => Gates::CoupledLstm,
            false => Gates::Lstm,
        })
    }

    fn options(&self) -> Options {
        let functions = [
            &self.gate_activation,
            &self.cell_activation,
            &self.hidden_activation,
        ];
        Options::new(&functions, self.clip, self.clip_sums)
    }

    fn parameters(&mut self) -> Parameters<'_> {
        Parameters::new(
            &mut self.input_weight,
            &mut self.recurrent_weight,
            &mut self.bias,
        )
    }
}

impl PackedCell for GruCell {
    fn packed_gates(&self) -> Result<Gates, WeightError> {
        let candidate_bias = self.bias.is_some() && self.reset_after;
        if self.candidate_bias.is_some() != candidate_bias {
            return Err(WeightError::Unsupported {
                what: "one of a GRU's two biases without the other",
            });
        }
        Ok(Gates::Gru {
            reset_after: self.reset_after,
        })
    }

    fn options(&self) -> Options {
        let functions = [&self.gate_activation, &self.hidden_activation];
        Options::new(&functions, self.clip, self.clip_sums)
    }

    fn parameters(&mut self) -> Parameters<'_> {
        Parameters {
            candidate_bias: self.candidate_bias.as_mut(),
            ..Parameters::new(
                &mut self.input_weight,
                &mut self.recurrent_weight,
                &mut self.bias,
            )
        }
    }
}

impl PackedCell for LstmpCell {
    fn packed_gates(&self) -> Result<Gates, WeightError> {
        self.lstm.packed_gates()
    }

    fn options(&self) -> Options {
        self.lstm.options()
    }

    fn parameters(&mut self) -> Parameters<'_> {
        Parameters {
            projection: Some(&mut self.projection),
            ..self.lstm.parameters()
        }
    }
}

impl PackedCell for PeepholeLstmCell {
    fn packed_gates(&self) -> Result<Gates, WeightError> {
        let gates = self.lstm.packed_gates()?;
        match self.forget_peephole.is_some() == (gates == Gates::Lstm) {
            true => Ok(gates),
            false => Err(WeightError::Unsupported {
                what: "peepholes without the forget gate's, or with it where there is no such gate",
            }),
        }
    }

    fn options(&self) -> Options {
        self.lstm.options()
    }

    fn parameters(&mut self) -> Parameters<'_> {
        let (input, output) = (&mut self.input_peephole, &mut self.output_peephole);
        let peepholes = [Some(input), self.forget_peephole.as_mut(), Some(output)];
        Parameters {
            peepholes: Some(peepholes.into_iter().flatten().collect()),
            ..self.lstm.parameters()
        }
    }
}

fn numbers<const D: usize>(param: &mut Param<Tensor<D>>) -> Vec<f64> {
    dense(param.val()).into_data().iter::<f64>().collect()
}

/// Replaces a parameter's value, if there are both; its id, its adapter and whether it is trained don't change.
fn replace<const D: usize>(param: Option<&mut Param<Tensor<D>>>, values: Option<Vec<f64>>) {
    /// The mapper comes to the parameter first, then to what its adapter holds.
    struct Replace(Option<Vec<f64>>);

    impl ModuleMapper for Replace {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(values) = self.0.take() else {
                return param;
            };
            let (device, dtype) = (param.lazy_device(), module::dtype(&param));
            let data = TensorData::new(values, module::dims(&param)).convert_dtype(dtype);
            let id = param.id;
            param.transform_for_load(Tensor::from_data(data, (&device, dtype)), id)
        }
    }

    if let Some((param, values)) = param.zip(values) {
        *param = Module::map(param.clone(), &mut Replace(Some(values)));
    }
}

/// Adds float64 numbers to `weights`, as values of type `dtype`.
pub(crate) fn insert(
    weights: &mut Weights,
    name: impl Into<String>,
    values: Vec<f64>,
    shape: &[usize],
    dtype: DType,
) {
    weights.insert(name, TensorData::new(values, shape).convert_dtype(dtype));
}

/// `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transpose(values: &[f64], columns: usize) -> Vec<f64> {
    let column = |k: usize| values.iter().skip(k).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

/// Concatenates blocks, each with rows of the given width.
pub(crate) fn columns(blocks: &[Vec<f64>], columns: usize) -> Vec<f64> {
    let rows = blocks.first().map_or(0, |block| block.len() / columns);
    let row = |k: usize| {
        let blocks = blocks.iter();
        blocks.flat_map(move |block| &block[k * columns..(k + 1) * columns])
    };
    (0..rows).flat_map(row).copied().collect()
}

/// Rows of blocks of `block` numbers, in another order: the `k`-th of a row is the `order[k]`-th in `values`.
pub(crate) fn take(values: &[f64], block: usize, order: &[usize]) -> Vec<f64> {
    let order: Vec<_> = order.iter().copied().map(Some).collect();
    pick(values, block, order.len(), &order)
}

/// As [`take`], from rows of `of` blocks: the `k`-th of a row is the `order[k]`-th in `values`, or zero.
pub(crate) fn pick(values: &[f64], block: usize, of: usize, order: &[Option<usize>]) -> Vec<f64> {
    let zeros = vec![0.0; block];
    let row = |row: &[f64]| {
        let blocks = order
            .iter()
            .map(|k| k.map_or(&zeros[..], |k| &row[k * block..(k + 1) * block]));
        blocks.flatten().copied().collect::<Vec<_>>()
    };
    values.chunks(block * of).flat_map(row).collect()
}

/// The order that undoes `order`.
pub(crate) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (k, from) in order.iter().enumerate() {
        inverse[*from] = k;
    }
    inverse
}

/// The sum of two biases, of as much of the first as there is of the second. Adding a zero changes nothing,
/// not even the sign of another zero, so that what was written comes back bit for bit.
pub(super) fn sum(mut first: Vec<f64>, second: &[f64]) -> Vec<f64> {
    for (a, b) in first.iter_mut().zip(second) {
        *a = match (*a, *b) {
            (a, 0.0) => a,
            (0.0, b) => b,
            (a, b) => a + b,
        };
    }
    first
}
