//! Programs that must not compile, each beside a corrected twin that must. (Only a nightly compiler checks the error
//! code of a failing example; the twin shows that nothing else is wrong with it.)
//!
//! They are documentation tests because `trybuild` uses a directory and a profile of its own, and would build Burn
//! a second time.

/// A cell must name its state.
///
/// ```compile_fail,E0046
/// # use burn::{module::Module, nn::Linear, tensor::{Tensor, TensorCreationOptions}};
/// #[derive(Module, Debug)]
/// struct Feedforward { map: Linear }
///
/// impl lstm_core::Cell for Feedforward {
///     fn d_input(&self) -> usize { self.map.weight.dims()[0] }
///     fn d_output(&self) -> usize { self.map.weight.dims()[1] }
///     fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> Tensor<2> {
///         Tensor::zeros([batch, self.d_output()], options)
///     }
///     fn step_projected(&self, input: Tensor<2>, _: Tensor<2>) -> Tensor<2> { self.map.forward(input) }
/// }
/// ```
///
/// ```
/// # use burn::{module::Module, nn::Linear, tensor::{Tensor, TensorCreationOptions}};
/// #[derive(Module, Debug)]
/// struct Feedforward { map: Linear }
///
/// impl lstm_core::Cell for Feedforward {
///     type State = Tensor<2>;
///     fn d_input(&self) -> usize { self.map.weight.dims()[0] }
///     fn d_output(&self) -> usize { self.map.weight.dims()[1] }
///     fn zero_state(&self, batch: usize, options: impl Into<TensorCreationOptions>) -> Tensor<2> {
///         Tensor::zeros([batch, self.d_output()], options)
///     }
///     fn step_projected(&self, input: Tensor<2>, _: Tensor<2>) -> Tensor<2> { self.map.forward(input) }
/// }
/// ```
mod a_cell_without_a_state {}

/// A layer reads sequences.
///
/// ```compile_fail,E0308
/// # use burn::tensor::{Device, Tensor};
/// # let lstm = lstm_core::LstmConfig::new(3, 5, true).init(&Device::flex());
/// lstm.forward(Tensor::<2>::zeros([2, 3], &Device::flex()), None);
/// ```
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// # let lstm = lstm_core::LstmConfig::new(3, 5, true).init(&Device::flex());
/// lstm.forward(Tensor::<3>::zeros([2, 7, 3], &Device::flex()), None);
/// ```
mod a_layer_given_one_step {}

/// A state belongs to its kind of cell.
///
/// ```compile_fail,E0308
/// # use burn::tensor::{Device, Tensor};
/// # use lstm_core::{LstmState, RnnState};
/// # let lstm = lstm_core::LstmConfig::new(3, 5, true).init(&Device::flex());
/// # let (input, zeros) = (Tensor::zeros([2, 7, 3], &Device::flex()), Tensor::zeros([2, 5], &Device::flex()));
/// lstm.forward(input, Some(RnnState::new(zeros)));
/// ```
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// # use lstm_core::{LstmState, RnnState};
/// # let lstm = lstm_core::LstmConfig::new(3, 5, true).init(&Device::flex());
/// # let (input, zeros) = (Tensor::zeros([2, 7, 3], &Device::flex()), Tensor::zeros([2, 5], &Device::flex()));
/// lstm.forward(input, Some(LstmState::new(zeros.clone(), zeros)));
/// ```
mod a_state_of_another_cell {}

/// Resets are booleans, not numbers.
///
/// ```compile_fail,E0308
/// # use burn::tensor::{Bool, Device, Tensor};
/// # let device = Device::flex();
/// # let gru = lstm_core::Recurrent::new(lstm_core::GruCellConfig::new(3, 5).init(&device));
/// let first: Tensor<2> = Tensor::from_data([[1.0, 0.0]], &device);
/// gru.forward_with_resets(Tensor::zeros([1, 2, 3], &device), None, first);
/// ```
///
/// ```
/// # use burn::tensor::{Bool, Device, Tensor};
/// # let device = Device::flex();
/// # let gru = lstm_core::Recurrent::new(lstm_core::GruCellConfig::new(3, 5).init(&device));
/// let first: Tensor<2, Bool> = Tensor::from_data([[true, false]], &device);
/// gru.forward_with_resets(Tensor::zeros([1, 2, 3], &device), None, first);
/// ```
mod resets_that_are_numbers {}

/// Recurrent dropout needs a cell with a `RecurrentProduct`.
///
/// ```compile_fail,E0277
/// # use burn::tensor::Device;
/// # use lstm_core::{GruCellConfig, RecurrentDropout, Zoneout};
/// # let gru = GruCellConfig::new(3, 5).init(&Device::flex());
/// RecurrentDropout::new(Zoneout::new(gru, &[0.1]), 0.2);
/// ```
///
/// ```
/// # use burn::tensor::Device;
/// # use lstm_core::{GruCellConfig, RecurrentDropout, Zoneout};
/// # let gru = GruCellConfig::new(3, 5).init(&Device::flex());
/// Zoneout::new(RecurrentDropout::new(gru, 0.2), &[0.1]);
/// ```
mod dropout_of_a_cell_that_cannot_have_it {}

/// Configurations may get more options.
///
/// ```compile_fail,E0639
/// # use lstm_core::RnnCellConfig;
/// RnnCellConfig {
///     bias: false,
///     ..RnnCellConfig::new(3, 5)
/// };
/// ```
///
/// ```
/// # use lstm_core::RnnCellConfig;
/// let mut config = RnnCellConfig::new(3, 5);
/// config.bias = false;
/// ```
mod a_configuration_by_its_fields {}

/// Errors may get more kinds.
///
/// ```compile_fail,E0004
/// use lstm_core::StateError;
///
/// fn is_shape(error: StateError) -> bool {
///     match error {
///         StateError::Shape { .. } => true,
///         StateError::Count { .. } | StateError::Values { .. } => false,
///     }
/// }
/// ```
///
/// ```
/// use lstm_core::StateError;
///
/// fn is_shape(error: StateError) -> bool {
///     match error {
///         StateError::Shape { .. } => true,
///         StateError::Count { .. } | StateError::Values { .. } | _ => false,
///     }
/// }
/// ```
mod errors_matched_one_by_one {}

/// Kernels are not for callers.
///
/// ```compile_fail,E0603
/// use lstm_core::ops::run;
/// ```
///
/// ```
/// use lstm_core::reference::sequence;
/// ```
mod kernels_called_by_name {}
