//! The parameters of the kind `exec`: those that are identity, and those that are not.

use crate::shared::bounds;
use base::params;
use base::value::Value;
use engine::kind::Type;
use std::collections::BTreeMap;
use std::path::PathBuf;

params! {
    pub struct Params {
        /// The program and its arguments, each a string with placeholders; no shell is between.
        command: Vec<String>;
        /// What it delivers.
        outputs: Vec<Type>;
        /// Scripts, configurations, a lock of its requirements: files and folders whose content is identity. The program gets
        /// copies, side by side in one folder.
        files: Vec<PathBuf> = vec![];
        /// The program's own parameters, of any type: a JSON file, and placeholders.
        values: BTreeMap<String, Value> = BTreeMap::new();
        /// Environment variables, with placeholders.
        env: BTreeMap<String, String> = BTreeMap::new();
        /// Another word runs the program again: for what no key can see, such as another version of what is installed.
        version: Option<String> = None;
    }
}

params! {
    pub struct Exec {
        /// The folder of a Python environment: its programs are found first, `{python}` is its interpreter.
        venv: Option<PathBuf> = None;
        /// Folders that programs are looked for in, before those of PATH.
        path: Vec<PathBuf> = vec![];
        /// Environment variables that are handed on, secrets among them. Their values are in no log and in no output.
        pass_env: Vec<String> = vec![];
        /// Threads that the program is told to use; without it, those that are free.
        threads: Option<usize> = None, in bounds::THREADS;
        /// Devices that it sees, as CUDA_VISIBLE_DEVICES, so `"0,1"`: it waits until as many are free. Without it, those that are
        /// there, whoever else uses them.
        gpus: Option<String> = None;
        /// The program is stopped after so long.
        timeout_seconds: Option<f64> = None, in bounds::SECONDS;
    }
}
