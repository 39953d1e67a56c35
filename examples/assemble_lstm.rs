//! From the plain RNN cell to the LSTM cell, gate by gate:
//! `cargo run --release --bin assemble_lstm`
//!
//! One input x, one hidden state h, and a given memory c. Each stage adds gates to the one before and
//! prints what it makes of the memory. (Only the last stage is for training: from an empty memory,
//! c = 0, the first two stay at zero for ever.)

use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::{Device, Tensor};
use lstm_core::{Gate, GateWeights, LstmCellConfig, LstmState, RnnCellConfig};

/// x W + h R + b: what the RNN cell and every gate of the LSTM do before the nonlinearity.
fn sum(weights: GateWeights, x: &Tensor<2>, h: &Tensor<2>) -> Tensor<2> {
    let bias = weights.bias.expect("the cell has a bias");
    x.clone().matmul(weights.input_weight)
        + h.clone().matmul(weights.recurrent_weight)
        + bias.unsqueeze()
}

fn numbers(tensor: &Tensor<2>) -> String {
    let data = tensor.to_data();
    let values = data.iter::<f32>().map(|value| format!("{value:7.3}"));
    values.collect::<Vec<_>>().join(" ")
}

fn main() {
    let device = Device::flex();
    device.seed(1);
    let x = Tensor::<2>::from_data([[1.0, -0.5]], &device);
    let h = Tensor::<2>::from_data([[0.1, -0.2, 0.3, 0.4]], &device);
    let c = Tensor::<2>::from_data([[2.0, -1.0, 0.5, 0.0]], &device);
    println!("given: memory c     {}", numbers(&c));

    println!("\nThe RNN cell has no memory: what it knows is overwritten at every step.");
    // h' = tanh(x W + h R + b)
    let rnn = RnnCellConfig::new(2, 4).init(&device);
    let rnn = GateWeights {
        input_weight: rnn.input_weight.val(),
        recurrent_weight: rnn.recurrent_weight.val(),
        bias: rnn.bias.map(|bias| bias.val()),
    };
    println!("   hidden h'        {}", numbers(&tanh(sum(rnn, &x, &h))));

    // The gates' weights, the same in all stages.
    let lstm = LstmCellConfig::new(2, 4).init(&device);
    let gate = |gate| sum(lstm.gate(gate), &x, &h);

    println!("\n1. A memory, and an output gate that decides how much of it is shown.");
    // o = σ(x W_o + h R_o + b_o)    c' = c    h' = o ⊙ tanh(c')
    let o = sigmoid(gate(Gate::Output));
    println!("   output gate o    {}", numbers(&o));
    println!("   memory c' = c    {}", numbers(&c));
    println!(
        "   hidden h'        {}",
        numbers(&(o.clone() * tanh(c.clone())))
    );

    println!("\n2. A forget gate that decides how much of the memory is kept.");
    // f = σ(x W_f + h R_f + b_f)    c' = f ⊙ c    h' = o ⊙ tanh(c')
    let f = sigmoid(gate(Gate::Forget));
    let kept = f.clone() * c.clone();
    println!("   forget gate f    {}", numbers(&f));
    println!("   memory c' = f⊙c  {}", numbers(&kept));
    println!(
        "   hidden h'        {}",
        numbers(&(o.clone() * tanh(kept.clone())))
    );

    println!("\n3. A candidate, and an input gate that decides how much of it is written.");
    // i = σ(x W_i + h R_i + b_i)    g = tanh(x W_g + h R_g + b_g)
    // c' = f ⊙ c + i ⊙ g            h' = o ⊙ tanh(c')
    let i = sigmoid(gate(Gate::Input));
    let g = tanh(gate(Gate::Cell));
    let memory = kept + i.clone() * g.clone();
    let hidden = o * tanh(memory.clone());
    println!("   input gate i     {}", numbers(&i));
    println!("   candidate g      {}", numbers(&g));
    println!("   memory f⊙c+i⊙g   {}", numbers(&memory));
    println!("   hidden h'        {}", numbers(&hidden));

    // The third stage is the LSTM cell.
    let state = lstm.forward(x, Some(LstmState::new(c, h)));
    let difference = (state.cell - memory).abs().max() + (state.hidden - hidden).abs().max();
    let difference: f32 = difference.into_scalar();
    println!("\nLstmCell gives the same: the largest differences add up to {difference:.0e}.");
    assert!(difference < 1e-6);
}
