//! `pipe` as the tests run it: with toy kinds, at places where it can be told to fail, by a clock that can be wrong. It is no
//! part of what is installed.

mod faults;
mod toys;

fn main() {
    faults::arm();
    std::process::exit(pipe::cli::main(&toys::REGISTRY));
}
