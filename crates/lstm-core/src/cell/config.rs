//! What configs of cells have in common.

use super::{
    Cell, GruCell, GruCellConfig, LayerNormLstmCell, LayerNormLstmCellConfig, LstmCell,
    LstmCellConfig, LstmWithoutGate, LstmWithoutGateConfig, LstmpCell, LstmpCellConfig,
    PeepholeLstmCell, PeepholeLstmCellConfig, RecurrentDropout, RecurrentDropoutConfig,
    RecurrentProduct, RnnCell, RnnCellConfig, SLstmCell, SLstmCellConfig, Zoneout, ZoneoutConfig,
};
use burn::config::Config;
use burn::tensor::Device;

/// The config of a [`Cell`], from which [`RecurrentConfig`](crate::RecurrentConfig),
/// [`BidirectionalConfig`](crate::BidirectionalConfig) and [`RecurrentStackConfig`](crate::RecurrentStackConfig) make
/// layers. Implement it for the config of a cell of your own.
pub trait CellConfig: Config + Clone {
    /// The cell.
    type Cell: Cell;

    /// Input features, `I`.
    fn d_input(&self) -> usize;

    /// Features of the output, `H`.
    fn d_output(&self) -> usize;

    /// The config with other input features, for a layer above in a stack.
    fn with_d_input(self, d_input: usize) -> Self;

    /// Makes the cell, with weights drawn on `device`.
    fn init(&self, device: &Device) -> Self::Cell;
}

/// Implements [`CellConfig`] with the fields that are the input and output features.
macro_rules! impl_cell_config {
    ($($config:ident => $cell:ident, $($input:ident).+, $($output:ident).+;)*) => {$(
        impl CellConfig for $config {
            type Cell = $cell;

            fn d_input(&self) -> usize {
                self.$($input).+
            }

            fn d_output(&self) -> usize {
                self.$($output).+
            }

            fn with_d_input(mut self, d_input: usize) -> Self {
                self.$($input).+ = d_input;
                self
            }

            fn init(&self, device: &Device) -> $cell {
                self.init(device)
            }
        }
    )*};
}

impl_cell_config! {
    RnnCellConfig => RnnCell, d_input, d_hidden;
    LstmCellConfig => LstmCell, d_input, d_hidden;
    GruCellConfig => GruCell, d_input, d_hidden;
    SLstmCellConfig => SLstmCell, d_input, d_hidden;
    LstmpCellConfig => LstmpCell, lstm.d_input, d_projection;
    PeepholeLstmCellConfig => PeepholeLstmCell, lstm.d_input, lstm.d_hidden;
    LayerNormLstmCellConfig => LayerNormLstmCell, lstm.d_input, lstm.d_hidden;
    LstmWithoutGateConfig => LstmWithoutGate, lstm.d_input, lstm.d_hidden;
}

/// Implements [`CellConfig`] for the config of a cell around another.
macro_rules! impl_wrapper_config {
    ($($config:ident => $wrapper:ident where $bound:ident;)*) => {$(
        impl<C: CellConfig<Cell: $bound>> CellConfig for $config<C> {
            type Cell = $wrapper<C::Cell>;

            fn d_input(&self) -> usize {
                self.cell.d_input()
            }

            fn d_output(&self) -> usize {
                self.cell.d_output()
            }

            fn with_d_input(mut self, d_input: usize) -> Self {
                self.cell = self.cell.with_d_input(d_input);
                self
            }

            fn init(&self, device: &Device) -> $wrapper<C::Cell> {
                self.init(device)
            }
        }
    )*};
}

impl_wrapper_config! {
    ZoneoutConfig => Zoneout where Cell;
    RecurrentDropoutConfig => RecurrentDropout where RecurrentProduct;
}
