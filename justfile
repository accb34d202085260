# Short names for what one types often.
check:
    git ls-files "*.rs" | xargs rustfmt --check --edition 2024 && cargo clippy --release --all-targets -- -D warnings && cargo test --release
# Not `cargo fmt`: it does not see the files that `kinds!` and `scorers!` name.
fmt:
    git ls-files "*.rs" | xargs rustfmt --edition 2024
test PATTERN:
    cargo test --release {{PATTERN}}
tars *ARGS:
    cargo run --release -- run recipes/tars.toml {{ARGS}}
bench NAME:
    bench/{{NAME}}
bless:
    PIPE_BLESS=1 cargo test --release
loc:
    find src -name '*.rs' | xargs wc -l | sort -n | tail -n 40
