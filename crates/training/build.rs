//! Tells the program how far it is optimised, for `bench`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let level = std::env::var("OPT_LEVEL").expect("cargo says it");
    println!("cargo::rustc-env=OPT_LEVEL={level}");
}
