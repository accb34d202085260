//! Why a run did not end well, in the classes that a command line turns into exit codes.

#[derive(Debug)]
pub enum Failure {
    /// Nodes failed: name and message, in the order it happened.
    Nodes(Vec<(String, String)>),
    /// The store or the machine is unusable: not writable, full, of a newer format.
    Environment(anyhow::Error),
    /// Asked to stop; the attempts are resumable.
    Interrupted,
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Nodes(_) => 1,
            Failure::Environment(_) => 3,
            Failure::Interrupted => 130,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Nodes(nodes) => {
                let names: Vec<String> = nodes.iter().map(|(n, _)| format!("`{n}`")).collect();
                write!(f, "failed: {}", names.join(", "))
            }
            Failure::Environment(error) => write!(f, "{error:#}"),
            Failure::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Environment(error)
    }
}
