//! The program `pipe`; everything it does is in `pipe::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(pipe::cli::main())
}
