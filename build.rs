//! How the programs are linked. Every node of a study is a process, and a program that may lie anywhere in memory has to put tens of
//! thousands of addresses right before it begins: a millisecond and three hundred pages, each time. So it lies where it was linked to.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let of_target =
        |name: &str| std::env::var_os(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if of_target("OS") == "linux" && of_target("ENV") == "gnu" {
        println!("cargo:rustc-link-arg-bins=-no-pie");
        println!("cargo:rustc-link-arg-examples=-no-pie");
    }
}
