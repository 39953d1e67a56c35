//! Weights from elsewhere.

mod burn_nn;
