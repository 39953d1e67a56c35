//! A case of the corpus: which cell, how it is run, and the run itself on a device.

use crate::tensors::{Host, Named};
use burn::module::Param;
use burn::tensor::{DType, Device, Gradients, Tensor};
use lstm_core::{BiLstm, BiRnn, Lstm, LstmCell, LstmState, Rnn, RnnCell, RnnState};
use serde::Deserialize;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    Rnn,
    Lstm,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Cell,
    Layer,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Forward,
    Reverse,
    Both,
}

/// What the golden files' metadata says of a case.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    pub name: String,
    pub cell: CellKind,
    pub kind: Kind,
    pub direction: Direction,
    pub bias: bool,
}

impl Case {
    /// Suffixes of the names of weights and states, one a direction.
    pub fn suffixes(&self) -> &'static [&'static str] {
        match self.direction {
            Direction::Both => &["", "_reverse"],
            _ => &[""],
        }
    }

    /// Letters of the states.
    pub fn states(&self) -> &'static [&'static str] {
        match self.cell {
            CellKind::Rnn => &["h"],
            CellKind::Lstm => &["h", "c"],
        }
    }

    /// Names of all that has a gradient.
    pub fn inputs(&self) -> Vec<String> {
        let mut names = vec!["x".to_string()];
        for suffix in self.suffixes() {
            names.push(format!("W{suffix}"));
            names.push(format!("R{suffix}"));
            names.extend(self.bias.then(|| format!("b{suffix}")));
            names.extend(self.states().iter().map(|s| format!("{s}0{suffix}")));
        }
        names
    }
}

/// The inputs on a device, tracked, and what becomes of them.
struct Run<'a> {
    case: &'a Case,
    given: &'a Named,
    device: Device,
    dtype: DType,
    outputs: Named,
    loss: Tensor<1>,
    leaves: Vec<(String, Leaf)>,
}

/// A tracked tensor whose gradient is asked for.
enum Leaf {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
    Sequence(Tensor<3>),
}

/// Runs a case on `device` in `dtype`: outputs, and with `gradients` also those of
/// `sum(y·py) + sum(hT·phT) + sum(cT·pcT)`, under the names of the golden files.
pub fn run(case: &Case, given: &Named, device: &Device, dtype: DType, gradients: bool) -> Named {
    let device = match gradients {
        true => device.clone().autodiff(),
        false => device.clone(),
    };
    let mut run = Run {
        case,
        given,
        loss: Tensor::zeros([1], (&device, dtype)),
        device,
        dtype,
        outputs: Named::new(),
        leaves: vec![],
    };
    match (case.cell, case.kind) {
        (CellKind::Rnn, Kind::Cell) => run.rnn_cell(),
        (CellKind::Lstm, Kind::Cell) => run.lstm_cell(),
        (CellKind::Rnn, Kind::Layer) => run.rnn_layer(),
        (CellKind::Lstm, Kind::Layer) => run.lstm_layer(),
    }
    run.finish(gradients)
}

impl Run<'_> {
    fn finish(mut self, gradients: bool) -> Named {
        self.outputs
            .insert("loss".into(), Host::of(self.loss.clone()));
        if gradients {
            let gradients = self.loss.backward();
            for (name, leaf) in &self.leaves {
                let gradient = leaf.gradient(name, &gradients);
                self.outputs.insert(format!("d{name}"), gradient);
            }
        }
        self.outputs
    }

    fn given<const D: usize>(&self, name: &str) -> Tensor<D> {
        self.given[name].to(&self.device, self.dtype)
    }

    /// A given tensor, tracked where gradients are asked for.
    fn tracked<const D: usize>(&self, name: &str) -> Tensor<D> {
        match self.device.is_autodiff() {
            true => self.given(name).require_grad(),
            false => self.given(name),
        }
    }

    fn state(&mut self, name: String) -> Tensor<2> {
        let state = self.tracked::<2>(&name);
        self.leaves.push((name, Leaf::Matrix(state.clone())));
        state
    }

    /// Notes an output and adds its projection to the loss.
    fn output<const D: usize>(&mut self, name: String, value: Tensor<D>) {
        let projection = self.given::<D>(&format!("p{name}"));
        self.loss = self.loss.clone() + (value.clone() * projection).sum();
        self.outputs.insert(name, Host::of(value));
    }

    fn outputs_of_states(&mut self, suffix: &str, hidden: Tensor<2>, cell: Option<Tensor<2>>) {
        self.output(format!("hT{suffix}"), hidden);
        if let Some(cell) = cell {
            self.output(format!("cT{suffix}"), cell);
        }
    }

    /// `W`, `R` and `b` of one direction.
    fn weights(&self, suffix: &str) -> (Tensor<2>, Tensor<2>, Option<Tensor<1>>) {
        let given = |letter| self.given(&format!("{letter}{suffix}"));
        let bias = self.case.bias.then(|| self.given(&format!("b{suffix}")));
        (given("W"), given("R"), bias)
    }

    /// Asks for the gradients of a cell's weights.
    fn track(
        &mut self,
        suffix: &str,
        input_weight: &Param<Tensor<2>>,
        recurrent_weight: &Param<Tensor<2>>,
        bias: Option<&Param<Tensor<1>>>,
    ) {
        let mut leaf = |letter, leaf| self.leaves.push((format!("{letter}{suffix}"), leaf));
        leaf("W", Leaf::Matrix(input_weight.val()));
        leaf("R", Leaf::Matrix(recurrent_weight.val()));
        if let Some(bias) = bias {
            leaf("b", Leaf::Vector(bias.val()));
        }
    }

    fn rnn(&mut self, suffix: &str) -> (RnnCell, RnnState<2>) {
        let (w, r, b) = self.weights(suffix);
        let cell = RnnCell::from_weights(w, r, b);
        self.track(
            suffix,
            &cell.input_weight,
            &cell.recurrent_weight,
            cell.bias.as_ref(),
        );
        (cell, RnnState::new(self.state(format!("h0{suffix}"))))
    }

    fn lstm(&mut self, suffix: &str) -> (LstmCell, LstmState<2>) {
        let (w, r, b) = self.weights(suffix);
        let cell = LstmCell::from_weights(w, r, b);
        self.track(
            suffix,
            &cell.input_weight,
            &cell.recurrent_weight,
            cell.bias.as_ref(),
        );
        let hidden = self.state(format!("h0{suffix}"));
        let memory = self.state(format!("c0{suffix}"));
        (cell, LstmState::new(memory, hidden))
    }

    fn row(&mut self) -> Tensor<2> {
        let x = self.tracked::<2>("x");
        self.leaves.push(("x".into(), Leaf::Matrix(x.clone())));
        x
    }

    fn sequence(&mut self) -> Tensor<3> {
        let x = self.tracked::<3>("x");
        self.leaves.push(("x".into(), Leaf::Sequence(x.clone())));
        x
    }

    fn rnn_cell(&mut self) {
        let (x, (cell, state)) = (self.row(), self.rnn(""));
        let state = cell.forward(x, Some(state));
        self.outputs_of_states("", state.hidden, None);
    }

    fn lstm_cell(&mut self) {
        let (x, (cell, state)) = (self.row(), self.lstm(""));
        let state = cell.forward(x, Some(state));
        self.outputs_of_states("", state.hidden, Some(state.cell));
    }

    fn rnn_layer(&mut self) {
        let (x, (cell, state)) = (self.sequence(), self.rnn(""));
        let forward = Rnn::from(cell);
        if self.case.direction == Direction::Both {
            let (cell, state_reverse) = self.rnn("_reverse");
            let both = BiRnn {
                d_hidden: forward.d_hidden,
                forward,
                reverse: Rnn {
                    reverse: true,
                    ..Rnn::from(cell)
                },
                batch_first: true,
            };
            let state = Tensor::stack(vec![state.hidden, state_reverse.hidden], 0);
            let (y, state) = both.forward(x, Some(RnnState::new(state)));
            self.output("y".into(), y);
            for (hidden, suffix) in state.hidden.iter_dim(0).zip(self.case.suffixes()) {
                self.outputs_of_states(suffix, hidden.squeeze_dim(0), None);
            }
        } else {
            let reverse = self.case.direction == Direction::Reverse;
            let (y, state) = Rnn { reverse, ..forward }.forward(x, Some(state));
            self.output("y".into(), y);
            self.outputs_of_states("", state.hidden, None);
        }
    }

    fn lstm_layer(&mut self) {
        let (x, (cell, state)) = (self.sequence(), self.lstm(""));
        let forward = Lstm::from(cell);
        if self.case.direction == Direction::Both {
            let (cell, state_reverse) = self.lstm("_reverse");
            let both = BiLstm {
                d_hidden: forward.d_hidden,
                forward,
                reverse: Lstm {
                    reverse: true,
                    ..Lstm::from(cell)
                },
                batch_first: true,
            };
            let state = LstmState::stack(vec![state, state_reverse], 0);
            let (y, state) = both.forward(x, Some(state));
            self.output("y".into(), y);
            for (state, suffix) in state.chunk(2, 0).into_iter().zip(self.case.suffixes()) {
                let (cell, hidden) = state.squeeze_dim::<2>(0).unpack();
                self.outputs_of_states(suffix, hidden, Some(cell));
            }
        } else {
            let reverse = self.case.direction == Direction::Reverse;
            let (y, state) = Lstm { reverse, ..forward }.forward(x, Some(state));
            self.output("y".into(), y);
            self.outputs_of_states("", state.hidden, Some(state.cell));
        }
    }
}

impl Leaf {
    fn gradient(&self, name: &str, gradients: &Gradients) -> Host {
        let gradient = match self {
            Leaf::Vector(tensor) => tensor.grad(gradients).map(Host::of),
            Leaf::Matrix(tensor) => tensor.grad(gradients).map(Host::of),
            Leaf::Sequence(tensor) => tensor.grad(gradients).map(Host::of),
        };
        gradient.unwrap_or_else(|| panic!("{name} has no gradient"))
    }
}
