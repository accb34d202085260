//! The binary: so far only the hidden verb with which the engine starts its workers.

fn main() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|verb| verb == "worker")
        && let Some(dir) = args.next()
    {
        let registry = pipe::kinds::ALL;
        std::process::exit(pipe::engine::worker::main(&registry, dir.as_ref()));
    }
}
