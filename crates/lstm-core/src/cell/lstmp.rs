//! The LSTM with a projection (Sak, Senior & Beaufays 2014, *Long short-term memory recurrent neural network
//! architectures for large scale acoustic modeling*; PyTorch's `proj_size`).

use super::{Cell, Kernel, LstmCell, LstmCellConfig, leaf};
use crate::config::config;
use crate::{init, module, shape};
use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor, TensorCreationOptions};

config! {
    /// Configuration of an [`LstmpCell`].
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use lstm_core::{LstmCellConfig, LstmpCellConfig, Recurrent};
    ///
    /// let device = Device::flex();
    /// let cell = LstmpCellConfig::new(LstmCellConfig::new(3, 8), 5).init(&device);
    /// let (output, state) = Recurrent::new(cell).forward(Tensor::ones([2, 7, 3], &device), None);
    /// assert_eq!(output.dims(), [2, 7, 5]);
    /// assert_eq!(state.cell.dims(), [2, 8]);
    /// ```
    pub struct LstmpCellConfig {
        /// The options of the LSTM.
        pub lstm: LstmCellConfig,
        /// Features of the projection, `P`.
        pub d_projection: usize,
        ..
        /// Initialiser of the projection `[H, P]`.
        pub projection_initializer: Initializer = Initializer::XavierUniform { gain: 1.0 },
    }
}

impl LstmpCellConfig {
    /// Makes the cell, with weights drawn on `device`.
    ///
    /// # Panics
    ///
    /// As [`LstmCellConfig::init`]; if `d_projection` is 0.
    pub fn init(&self, device: &Device) -> LstmpCell {
        shape::at_least_one("lstmp cell", "d_projection", self.d_projection);
        let (rows, columns) = (self.lstm.d_hidden, self.d_projection);
        LstmpCell {
            lstm: self.lstm.init_reading(self.d_projection, device),
            projection: init::packed_weight(&self.projection_initializer, rows, columns, 1, device),
        }
    }
}

/// The LSTM whose hidden state is projected to fewer features, which the gates read:
///
/// ```text
/// h' = (o ⊙ tanh(c')) Q
/// ```
///
/// The hidden state is `[B, P]`, the cell state `[B, H]`.
#[derive(Module, Debug)]
pub struct LstmpCell {
    /// The LSTM, whose recurrent weights are `[P, 4H]`.
    pub lstm: LstmCell,
    /// `Q`, `[H, P]`: PyTorch's `weight_hr`, transposed.
    pub projection: Param<Tensor<2>>,
}

impl LstmpCell {
    /// A cell with the given weights, which become its parameters, and the usual activations.
    ///
    /// # Shapes
    ///
    /// Gates in the order `i, f, g, o`:
    ///
    /// - `input_weight`: `[I, 4H]`
    /// - `recurrent_weight`: `[P, 4H]`
    /// - `bias`: `[4H]`
    /// - `projection`: `[H, P]`
    ///
    /// # Panics
    ///
    /// If the shapes don't fit together.
    pub fn from_weights(
        input_weight: Tensor<2>,
        recurrent_weight: Tensor<2>,
        bias: Option<Tensor<1>>,
        projection: Tensor<2>,
    ) -> Self {
        let [d_input, _] = input_weight.dims();
        let [d_hidden, d_projection] = projection.dims();
        let width = 4 * d_hidden;
        for (what, size) in [("d_input", d_input), ("d_projection", d_projection)] {
            shape::at_least_one("lstmp cell", what, size);
        }
        let check = |what, symbols, expected, got| {
            shape::check("lstmp cell", what, symbols, expected, got);
        };
        let got = input_weight.dims();
        check("input weight", "[I, 4H]", [d_input, width], got);
        let got = recurrent_weight.dims();
        check("recurrent weight", "[P, 4H]", [d_projection, width], got);
        if let Some(bias) = &bias {
            shape::check("lstmp cell", "bias", "[4H]", [width], bias.dims());
        }
        Self {
            lstm: LstmCell::usual(input_weight, recurrent_weight, bias),
            projection: leaf(projection),
        }
    }

    /// Features of the projection, `P`.
    pub fn d_projection(&self) -> usize {
        module::dims(&self.projection)[1]
    }
}

/// The state of an [`LstmpCell`], whose tensors differ in size. (In [`LstmState`](burn::nn::LstmState) they are equal.)
#[derive(Clone, Debug)]
pub struct LstmpState<const D: usize = 2> {
    /// `c`, `[B, H]`
    pub cell: Tensor<D>,
    /// `h`, `[B, P]`
    pub hidden: Tensor<D>,
}

impl Cell for LstmpCell {
    type State = LstmpState;

    fn d_input(&self) -> usize {
        self.lstm.d_input()
    }

    fn d_output(&self) -> usize {
        self.d_projection()
    }

    fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> LstmpState {
        let options = options.into();
        LstmpState {
            cell: Tensor::zeros([batch, self.lstm.d_hidden()], options.clone()),
            hidden: Tensor::zeros([batch, self.d_projection()], options),
        }
    }

    fn project(&self, input: Tensor<2>) -> Tensor<2> {
        self.lstm.project(input)
    }

    fn step_projected(&self, projected: Tensor<2>, state: LstmpState) -> LstmpState {
        let gates = self.lstm.gates_from(projected, state.hidden);
        let cell = self.lstm.cell_state(&gates, state.cell);
        let hidden = self.lstm.hidden_state(&gates, cell.clone());
        LstmpState {
            cell,
            hidden: hidden.matmul(self.projection.val()),
        }
    }

    fn kernel(&self) -> Option<Kernel> {
        Some(Kernel {
            projection: Some(self.projection.val()),
            ..self.lstm.kernel()?
        })
    }
}
