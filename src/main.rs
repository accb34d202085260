//! The binary: the command line's words in, an exit status out.

fn main() {
    std::process::exit(pipe::cli::main(&pipe::kinds::REGISTRY));
}
