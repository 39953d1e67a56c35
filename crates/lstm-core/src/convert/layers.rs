//! Layers of any kind as the cells within.

use super::WeightError;
use super::packed::PackedCell;
use crate::cell::GruCell;
use crate::layer::{Bidirectional, Gru, Recurrent, RecurrentStack};
use burn::module::Module;

/// One layer or several, in one or both directions.
pub(crate) trait Layers: Module {
    type Cell: PackedCell;

    /// Directions of each layer, `D`.
    fn directions(&self) -> usize;

    /// The cells of all layers and directions: the first layer's forward one, its reverse, if any, the
    /// second layer's, and so on. Those of a clone hold the same tensors.
    fn cells(&mut self) -> Vec<&mut Self::Cell>;

    /// Whether a layer of one direction reads from the last step to the first.
    fn reverse(&self, _layer: usize) -> bool {
        false
    }

    /// Whether sequences are `[B, T, I]`.
    #[cfg_attr(not(feature = "onnx"), allow(dead_code))]
    fn batch_first(&self) -> bool;

    /// Fails if the layers have a learned initial state, which no other format has.
    fn check_learned(&self) -> Result<(), WeightError> {
        Ok(())
    }
}

impl<C: PackedCell> Layers for Recurrent<C> {
    type Cell = C;

    fn directions(&self) -> usize {
        1
    }

    fn cells(&mut self) -> Vec<&mut C> {
        vec![&mut self.cell]
    }

    fn reverse(&self, _layer: usize) -> bool {
        self.reverse
    }

    fn batch_first(&self) -> bool {
        self.batch_first
    }

    fn check_learned(&self) -> Result<(), WeightError> {
        match self.initial_state {
            Some(_) => Err(WeightError::Unsupported {
                what: "a learned initial state",
            }),
            None => Ok(()),
        }
    }
}

impl Layers for Gru {
    type Cell = GruCell;

    fn directions(&self) -> usize {
        1
    }

    fn cells(&mut self) -> Vec<&mut GruCell> {
        self.0.cells()
    }

    fn reverse(&self, _layer: usize) -> bool {
        self.0.reverse
    }

    fn batch_first(&self) -> bool {
        self.0.batch_first
    }

    fn check_learned(&self) -> Result<(), WeightError> {
        self.0.check_learned()
    }
}

impl<C: PackedCell> Layers for Bidirectional<C> {
    type Cell = C;

    fn directions(&self) -> usize {
        2
    }

    fn cells(&mut self) -> Vec<&mut C> {
        vec![&mut self.forward.cell, &mut self.reverse.cell]
    }

    fn batch_first(&self) -> bool {
        self.batch_first
    }

    fn check_learned(&self) -> Result<(), WeightError> {
        self.forward.check_learned()?;
        self.reverse.check_learned()
    }
}

impl<C: PackedCell> Layers for RecurrentStack<C> {
    type Cell = C;

    fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    fn cells(&mut self) -> Vec<&mut C> {
        self.layers
            .iter_mut()
            .map(|layer| &mut layer.cell)
            .collect()
    }

    fn reverse(&self, layer: usize) -> bool {
        let own = self.layers.get(layer);
        !self.bidirectional && own.is_some_and(|layer| layer.reverse)
    }

    fn batch_first(&self) -> bool {
        self.batch_first
    }

    fn check_learned(&self) -> Result<(), WeightError> {
        self.layers.iter().try_for_each(Recurrent::check_learned)
    }
}
