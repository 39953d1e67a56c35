//! The GRU layer, whose `forward` returns the outputs alone, as `burn::nn::Gru`'s does.

use super::{Recurrent, RecurrentLayer};
use crate::cell::GruCell;
use crate::display::{impl_module_display, of_layer};
use crate::mask::Steps;
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{Device, Tensor};
use core::fmt;
use std::ops::{Deref, DerefMut};

/// A [`GruCell`] run over sequences; drop-in for `burn::nn::Gru`.
///
/// It is a [`Recurrent`] layer except for its [`forward`](Self::forward), and is saved and loaded as one. Methods that take the
/// layer, or a config that [`GruConfig`](crate::GruConfig) isn't, go by that layer:
///
/// ```
/// # use burn::tensor::Device;
/// use lstm_core::{Gru, GruCellConfig, GruConfig, RecurrentConfig};
///
/// let gru = GruConfig::new(3, 5, true).init(&Device::flex());
/// let gru = Gru(gru.0.with_truncation(20));
/// let config = RecurrentConfig::new(GruCellConfig::new(3, 5)).with_learned_state(true);
/// let gru = Gru::from(config.init(&Device::flex()));
/// ```
#[derive(Clone, Debug)]
pub struct Gru(pub Recurrent<GruCell>);

impl Gru {
    /// Runs the layer over a batch of sequences and returns the outputs alone.
    ///
    /// # Shapes
    ///
    /// - `input`: `[B, T, I]`, or `[T, B, I]` with `batch_first` off
    /// - `state`: hidden state `[B, H]`, zeros if `None`
    /// - returns the hidden states of all steps, `[B, T, H]`, aligned with the input in either direction
    ///
    /// # Panics
    ///
    /// As [`Recurrent::forward`].
    pub fn forward(&self, input: Tensor<3>, state: Option<Tensor<2>>) -> Tensor<3> {
        self.forward_with_state(input, state).0
    }

    /// As [`forward`](Self::forward), with the state after the last step read, `[B, H]`.
    ///
    /// # Panics
    ///
    /// As there.
    pub fn forward_with_state(
        &self,
        input: Tensor<3>,
        state: Option<Tensor<2>>,
    ) -> (Tensor<3>, Tensor<2>) {
        self.0.forward(input, state)
    }
}

impl RecurrentLayer for Gru {
    type State = Tensor<2>;

    fn forward_with(
        &self,
        input: Tensor<3>,
        state: Option<Tensor<2>>,
        steps: &Steps,
    ) -> (Tensor<3>, Tensor<2>) {
        self.0.forward_with(input, state, steps)
    }

    fn step(&self, input: Tensor<2>, state: Option<Tensor<2>>) -> (Tensor<2>, Tensor<2>) {
        self.0.step(input, state)
    }

    fn runs_on_kernels(&self, device: &Device) -> bool {
        self.0.runs_on_kernels(device)
    }
}

impl From<GruCell> for Gru {
    /// A batch-first, forward layer around the cell, which is moved, not copied.
    fn from(cell: GruCell) -> Self {
        Self(Recurrent::new(cell))
    }
}

impl From<Recurrent<GruCell>> for Gru {
    fn from(layer: Recurrent<GruCell>) -> Self {
        Self(layer)
    }
}

impl From<Gru> for GruCell {
    fn from(layer: Gru) -> Self {
        layer.0.cell
    }
}

impl Deref for Gru {
    type Target = Recurrent<GruCell>;

    fn deref(&self) -> &Recurrent<GruCell> {
        &self.0
    }
}

impl DerefMut for Gru {
    fn deref_mut(&mut self) -> &mut Recurrent<GruCell> {
        &mut self.0
    }
}

// By hand, so that its parameters have the paths of the `Recurrent` within (`cell.input_weight`).
impl Module for Gru {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.0.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self(self.0.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        Self(self.0.to_device(device))
    }

    fn train(self) -> Self {
        Self(self.0.train())
    }

    fn valid(&self) -> Self {
        Self(self.0.valid())
    }

    fn materialize(self) -> Self {
        Self(self.0.materialize())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.0.visit(visitor);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        Self(self.0.map(mapper))
    }
}

impl ModuleDisplayDefault for Gru {
    fn content(&self, content: Content) -> Option<Content> {
        self.0.content(content)
    }

    fn num_params(&self) -> usize {
        Module::num_params(&self.0)
    }
}

impl_module_display!(Gru, |gru, content| {
    let content = of_layer(&gru.cell, "{}", content)?;
    Some(content.add("reset_after", &gru.cell.reset_after))
});

impl fmt::Display for Gru {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(Default::default()))
    }
}
